"""Prompts that depend on the tokens of their block, alone and in a network."""

import copy

import pytest
import torch
import torch.nn.functional as F

from bpt_det.prompts import BilinearPrompt, ConditionedPrompt, FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from tests.support.families import small_network

D, P, R = 24, 5, 3


def conditioned(inner=None):
    prompt = ConditionedPrompt(inner or FreePrompt(P, D, patch_size=4), rank=R).double()
    generator = torch.Generator().manual_seed(0)
    prompt.reset_parameters(generator)
    prompt.up.data.normal_(generator=generator)
    return prompt


def tokens_of(batch_size=2, count=11):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch_size, count, D, generator=generator, dtype=torch.float64)


def test_each_prompt_is_shifted_by_its_own_mean_of_the_tokens():
    prompt, tokens = conditioned(), tokens_of()
    actual = prompt(2, tokens)
    assert actual.shape == (2, P, D)
    for image in range(2):
        keys = [prompt.down @ F.layer_norm(token, (D,)) for token in tokens[image]]
        for row in range(P):
            own = prompt.inner.tokens[row]
            query = prompt.down @ F.layer_norm(own, (D,))
            weights = torch.stack([query @ key / R**0.5 for key in keys]).softmax(dim=0)
            mean = sum(weight * key for weight, key in zip(weights, keys, strict=True))
            torch.testing.assert_close(actual[image, row], own + prompt.up @ mean)


def test_they_start_as_the_prompts_inside_and_count_as_the_formula_says():
    inner = BilinearPrompt(P, rank=2, embed_dim=D)
    prompt = ConditionedPrompt(inner, rank=R).double()
    assert torch.equal(prompt(2, tokens_of()), inner(2))
    trained = sum(p.numel() for p in prompt.parameters() if p.requires_grad)
    assert trained == 2 * (P + D) + 2 * R * D


def test_without_tokens_they_have_no_values():
    with pytest.raises(InputError, match="depend on the image, so they have no values"):
        conditioned()(1)


@pytest.mark.parametrize("rank", [0, D + 1])
def test_an_impossible_rank_is_refused(rank):
    with pytest.raises(InputError, match="rank must be"):
        ConditionedPrompt(FreePrompt(P, D, patch_size=4), rank=rank)


def test_a_prompt_sees_prefix_and_patches_but_no_earlier_prompts():
    model = PromptedViT(small_network("dinov3"), conditioned(), "last_2").double()
    seen = []
    for prompt in model.prompts.values():
        prompt.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    images = torch.randn(2, 3, 20, 36, dtype=torch.float64)
    model(images)
    assert [tokens.shape for _, tokens in seen] == [(2, 5 + 45, D)] * 2
    assert torch.equal(seen[0][1], model.prefix_tokens(images))


def test_they_differ_between_images_learn_and_are_saved():
    model = PromptedViT(small_network("mae"), conditioned(), "last_2").double()
    model.prompts["4"].up.data.normal_()  # a copy starts at 0 again
    images = torch.randn(2, 3, 20, 36, dtype=torch.float64)
    model(images).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.prompts.parameters())
    prefix = model.prefix_tokens(images)
    prompts = model.prompts["3"](2, prefix)
    assert not torch.allclose(prompts[0], prompts[1])
    other = copy.deepcopy(model)
    other.prompts["3"].reset_parameters()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images), model(images))
