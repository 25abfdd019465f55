"""ViTDet's backbone; the comparison with official Detectron2 is in tests/parity."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from timm.models.vision_transformer import VisionTransformer

from bpt_det.detection import SimpleFeaturePyramid
from bpt_det.detection.vitdet import ViTDetBackbone
from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit
from tests.support.families import small_network
from tests.support.upstream import vit_shapes

SIZES = {"embed_dim": 12, "num_blocks": 3, "num_heads": 2, "patch_size": 4, "pretrain_size": 20}
OPTIONS = {"image_size": 32, "window_size": 3, "global_block_indexes": [1]}


def backbone(sizes=None, **options):
    torch.manual_seed(0)
    return ViTDetBackbone(build_vit(**{**SIZES, **(sizes or {})}), **{**OPTIONS, **options})


def test_parameters_have_the_names_and_shapes_of_official_detectron2():
    state = {name: tuple(value.shape) for name, value in backbone().state_dict().items()}
    expected = vit_shapes(
        12, 3, 2, 4, grid_size=8, pretrain_grid_size=5, window_size=3, global_blocks=[1]
    )
    assert state == expected


def test_the_map_has_one_place_a_patch():
    model = backbone()
    assert model.output_shape() == {"last_feat": ShapeSpec(channels=12, stride=4)}
    assert model(torch.randn(2, 3, 20, 36))["last_feat"].shape == (2, 12, 5, 9)
    assert list(backbone(out_feature="map")(torch.zeros(1, 3, 8, 8))) == ["map"]


def cubic_weights(fraction, a=-0.75):
    """Keys' kernel at the four neighbors of a place, as OpenCV and ViTDet use it."""
    weights = []
    for distance in (1 + fraction, fraction, 1 - fraction, 2 - fraction):
        if distance <= 1:
            weights.append((a + 2) * distance**3 - (a + 3) * distance**2 + 1)
        else:
            weights.append(a * (distance**3 - 5 * distance**2 + 8 * distance - 4))
    return weights


def resize_axis(grid, size):
    """Bicubic interpolation along the first axis, with the border repeated."""
    rows = []
    for index in range(size):
        place = (index + 0.5) * len(grid) / size - 0.5
        low = int(place // 1)
        neighbors = [min(max(low + offset, 0), len(grid) - 1) for offset in (-1, 0, 1, 2)]
        weights = cubic_weights(place - low)
        rows.append(sum(w * grid[n] for w, n in zip(weights, neighbors, strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (28, 12), (32, 32)])
def test_tokens_are_patches_plus_positions_resampled_to_the_grid(height, width):
    """Without blocks; 5 x 5 positions are stored after the class token's, which is unused."""
    model = backbone({"num_blocks": 0}, global_block_indexes=[]).double()
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    patches = F.conv2d(images, model.patch_embed.proj.weight, model.patch_embed.proj.bias, stride=4)
    positions = model.pos_embed[0, 1:].reshape(5, 5, 12)
    positions = resize_axis(positions, height // 4)
    positions = resize_axis(positions.transpose(0, 1), width // 4).transpose(0, 1)
    expected = patches + positions.permute(2, 0, 1)
    torch.testing.assert_close(model(images)["last_feat"], expected)


def test_blocks_attend_in_windows_but_for_the_global_ones():
    """A change at one corner reaches the other corner through a global block alone."""
    images = torch.randn(1, 3, 36, 36)
    changed = images.clone()
    changed[:, :, :4, :4] += 1
    for global_block_indexes, reaches in (([], False), ([1], True)):
        model = backbone(global_block_indexes=global_block_indexes)
        before, after = (model(batch)["last_feat"][0, :, 8, 8] for batch in (images, changed))
        assert torch.equal(before, after) is not reaches


def test_stochastic_depth_rises_linearly_and_only_in_training():
    model = backbone({"drop_path_rate": 0.4})
    assert [block.drop_path.drop_prob for block in model.blocks] == pytest.approx([0, 0.2, 0.4])
    images = torch.randn(1, 3, 24, 24)
    model.eval()
    assert torch.equal(model(images)["last_feat"], model(images)["last_feat"])


def test_everything_is_trained():
    model = SimpleFeaturePyramid(backbone(), "last_feat", 5, [4.0, 2.0, 1.0, 0.5])
    sum(level.square().mean() for level in model(torch.randn(1, 3, 32, 32)).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad and parameter.grad.any(), name


def test_depths_are_those_of_layer_wise_learning_rates():
    """0 before the blocks, then the number of the block from 1, as in a `PromptedViT`."""
    model = backbone()
    depths = model.parameter_depths()
    assert len(depths) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        expected = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 0
        assert depths[parameter] == expected, name


def test_the_weights_of_the_plain_vit_are_where_it_starts():
    vit = build_vit(**SIZES)
    state = backbone().state_dict()
    for name, value in vit.state_dict().items():
        if name in state:
            assert torch.equal(state[name], value), name
    others = state.keys() - vit.state_dict().keys()
    assert others == {f"blocks.{i}.attn.rel_pos_{axis}" for i in range(3) for axis in "hw"}
    assert not any(state[name].any() for name in others)


def test_without_windows_it_computes_what_the_plain_vit_does_at_first():
    """Relative positions start at 0; the class token is left out on both sides."""
    vit = build_vit(**SIZES).double().requires_grad_(False)
    ours = ViTDetBackbone(vit, image_size=32, window_size=0).double()
    images = torch.randn(2, 3, 20, 20, dtype=torch.float64)
    tokens = vit.patch_embed(images).flatten(1, 2) + vit.pos_embed[:, 1:]
    for block in vit.blocks:
        tokens = block(tokens)
    features = ours(images)["last_feat"].flatten(2).transpose(1, 2)
    torch.testing.assert_close(features, tokens)


@pytest.mark.parametrize(
    ("num_blocks", "expected"),
    [(12, [2, 5, 8, 11]), (24, [5, 11, 17, 23]), (32, [7, 15, 23, 31])],
)
def test_the_last_block_of_each_quarter_is_global_as_published(num_blocks, expected):
    model = backbone({"num_blocks": num_blocks}, global_block_indexes=None)
    assert [i for i, block in enumerate(model.blocks) if not block.window_size] == expected


def test_an_image_size_of_part_patches_is_refused():
    with pytest.raises(InputError, match=r"^image_size=30 is not a multiple of patch_size=4\.$"):
        backbone(image_size=30)


def test_a_global_block_that_is_not_there_is_refused():
    text = r"^global_block_indexes=\[1, 3\] must lie in \[0, 2\]: the ViT has num_blocks=3\.$"
    with pytest.raises(InputError, match=text):
        backbone(global_block_indexes=[1, 3])


def test_a_vit_with_further_parts_is_refused():
    vit = VisionTransformer(16, 4, embed_dim=12, depth=2, num_heads=2, init_values=0.1)
    text = r"ViTDet is a plain ViT, .* differs in blocks\.0\.ls1\.gamma, blocks\.0\.ls2"
    with pytest.raises(InputError, match=text):
        ViTDetBackbone(vit)


def test_an_image_of_part_patches_is_refused():
    with pytest.raises(InputError, match=r"^image size 20x34 is not a multiple of patch_size=4; "):
        backbone()(torch.zeros(1, 3, 20, 34))


def test_a_network_with_rotary_positions_is_refused():
    with pytest.raises(InputError, match="ViTDet is a plain ViT, and cannot be made of Eva; use"):
        ViTDetBackbone(small_network("dinov3"))
