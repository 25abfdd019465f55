"""A ViT that is trained as a whole, with or without prompts in it."""

import pytest
import torch

from bpt_det.prompts import BilinearPrompt
from bpt_det.vit import PromptedViT
from tests.support.vits import TINY_SIZES, tiny_vit

WIDTH, NUM_BLOCKS = TINY_SIZES["embed_dim"], TINY_SIZES["num_blocks"]


def trained_vit(prompt=None, placement="last_2", **overrides):
    vit = tiny_vit(torch.float32, **overrides)
    return PromptedViT(vit, prompt, placement, frozen=False)


def bilinear():
    return BilinearPrompt(7, rank=3, embed_dim=WIDTH)


@pytest.mark.parametrize("prompt", [None, bilinear()])
def test_everything_but_the_unused_norm_is_trained_and_has_a_gradient(prompt):
    """A parameter without a gradient would stop distributed training, which waits for all."""
    model = trained_vit(prompt)
    model(torch.randn(2, 3, 20, 36)).sum().backward()
    for name, parameter in model.named_parameters():
        is_used = not name.startswith("vit.norm.")
        assert parameter.requires_grad == (parameter.grad is not None) == is_used, name


def test_the_output_is_that_of_the_frozen_one():
    images = torch.randn(2, 3, 20, 36)
    frozen = PromptedViT(tiny_vit(torch.float32), bilinear(), "last_2")
    trained = trained_vit(bilinear())
    trained.load_state_dict(frozen.state_dict())
    torch.testing.assert_close(trained(images), frozen(images))


def test_it_follows_the_mode_and_drops_paths_in_training_only():
    model = trained_vit(drop_path_rate=0.9)
    images = torch.randn(2, 3, 24, 24)
    assert model.vit.training
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert not model.vit.training
    assert torch.equal(model(images), model(images))


def test_without_gradients_none_are_kept():
    with torch.no_grad():
        assert not trained_vit()(torch.randn(1, 3, 24, 24)).requires_grad


def test_parameter_depths_rise_from_the_embedding_to_the_prompts():
    model = trained_vit(bilinear())
    depths = {name: model.parameter_depths()[p] for name, p in model.named_parameters()}
    for name, depth in depths.items():
        if name.startswith("vit.blocks."):
            assert depth == int(name.split(".")[2]) + 1
        else:
            is_first = name.startswith(("vit.patch_embed.", "vit.cls_token", "vit.pos_embed"))
            assert depth == (0 if is_first else NUM_BLOCKS + 1), name


def test_a_released_placement_fixes_the_basis_before_the_last_four_blocks():
    model = PromptedViT(tiny_vit(torch.float32), bilinear(), "released")
    trained = {name for name, p in model.prompts.named_parameters() if p.requires_grad}
    every = {f"{index}.coeff" for index in range(NUM_BLOCKS)}
    assert trained == every | {f"{index}.basis" for index in range(1, NUM_BLOCKS)}
