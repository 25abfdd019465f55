"""Backbone: the map of patch tokens, its stride and its refusals."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import BACKBONE_REGISTRY

from bpt_det.detection import PromptedViTBackbone
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from tests.support.families import small_network
from tests.support.vits import tiny_vit


def backbone(placement="shallow", **kwargs):
    prompt = BilinearPrompt(prompt_length=7, rank=3, embed_dim=12)
    return PromptedViTBackbone(tiny_vit(), prompt, placement, **kwargs).double()


@pytest.mark.parametrize("placement", ["shallow", "last_2"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 36), (36, 20)])
def test_the_map_holds_the_patch_tokens_row_by_row(placement, height, width):
    model = backbone(placement)
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    outputs = model(images)
    assert list(outputs) == ["last_feat"]
    features, tokens = outputs["last_feat"], model.prompted_vit(images)
    assert features.shape == (2, 12, height // 4, width // 4)
    for image in range(2):
        for row in range(height // 4):
            for column in range(width // 4):
                token = tokens[image, row * (width // 4) + column]
                assert torch.equal(features[image, :, row, column], token)


def test_a_changed_patch_changes_its_own_place_on_the_map_most():
    """The map lies as the image does: up is up."""
    model = PromptedViTBackbone(tiny_vit(num_blocks=0))
    images = torch.randn(1, 3, 20, 36, dtype=torch.float64)
    changed = images.clone()
    changed[:, :, 8:12, 24:28] += 1
    difference = (model(images)["last_feat"] - model(changed)["last_feat"]).abs().sum(dim=1)[0]
    assert difference.nonzero().tolist() == [[2, 6]]


def test_the_output_shape_names_channels_and_stride():
    assert backbone().output_shape() == {"last_feat": ShapeSpec(channels=12, stride=4)}
    named = backbone(out_feature="map")
    assert named.output_shape() == {"map": ShapeSpec(channels=12, stride=4)}
    assert list(named(torch.zeros(1, 3, 8, 8, dtype=torch.float64))) == ["map"]


def test_images_are_padded_to_whole_patches():
    assert backbone().size_divisibility == 4
    with pytest.raises(InputError, match=r"^image size 20x34 is not a multiple of patch_size=4; "):
        backbone()(torch.zeros(1, 3, 20, 34, dtype=torch.float64))


def test_only_prompts_are_trained():
    trained = [name for name, p in backbone("last_2").named_parameters() if p.requires_grad]
    prefix = "prompted_vit.prompts"
    assert trained == [f"{prefix}.{i}.{name}" for i in (3, 4) for name in ("coeff", "basis")]


def test_detectron2_knows_it_by_its_name():
    assert BACKBONE_REGISTRY.get("PromptedViTBackbone") is PromptedViTBackbone


@pytest.mark.parametrize("layers", [None, [1, 4]])
def test_the_final_norm_is_applied_to_patches_only_where_it_is_asked_for(layers):
    images = torch.randn(2, 3, 20, 36, dtype=torch.float64)
    vit = small_network("dinov3")
    plain = PromptedViTBackbone(vit, layers=layers, join="levels").double()
    normed = PromptedViTBackbone(vit, layers=layers, join="levels", final_norm=True).double()
    if layers is None:
        expected = vit.norm(plain.prompted_vit(images))
        actual = normed(images)["last_feat"]
        torch.testing.assert_close(actual.flatten(2).transpose(1, 2), expected)
    else:
        expected = [
            vit.norm(tokens) for tokens in plain.prompted_vit.forward_layers(images, layers)
        ]
        maps = normed.neck(expected, (5, 9))
        for one, other in zip(normed(images).values(), maps, strict=True):
            torch.testing.assert_close(one, other)
    assert not any(parameter.requires_grad for parameter in normed.prompted_vit.parameters())


def test_full_fine_tuning_trains_a_final_norm_that_is_applied():
    backbone = PromptedViTBackbone(small_network("dinov3"), frozen=False, final_norm=True)
    backbone(torch.randn(1, 3, 20, 36, dtype=torch.float64))["last_feat"].sum().backward()
    assert all(
        parameter.grad is not None for parameter in backbone.prompted_vit.vit.norm.parameters()
    )


def test_a_final_norm_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="final_norm=True, but this ViT has no final norm"):
        PromptedViTBackbone(small_network("pe_spatial"), final_norm=True)
