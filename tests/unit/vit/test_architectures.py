import math

import pytest
import torch

from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, build_vit
from tests.support.vits import TINY_PRETRAIN_SIZE, TINY_SIZES, count_parameters, tiny_vit

TINY = {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE}


def parameters_of_a_vit(embed_dim, num_blocks, num_heads, patch_size, image_size=224):
    """Class token, positions, patch embedding, blocks with an MLP of 4 D, final norm."""
    d = embed_dim
    block = 2 * d + (d * 3 * d + 3 * d) + (d * d + d) + 2 * d + (8 * d * d + 4 * d + d)
    num_patches = (image_size // patch_size) ** 2
    embedding = d + (num_patches + 1) * d + 3 * patch_size**2 * d + d
    return embedding + num_blocks * block + 2 * d


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_the_parameters_of_its_sizes(name):
    with torch.device("meta"):
        vit = build_vit(**ARCHITECTURES[name])
    assert count_parameters(vit) == parameters_of_a_vit(**ARCHITECTURES[name])


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("vit_b", (768, 12, 12, 16)),
        ("vit_l", (1024, 24, 16, 16)),
        ("vit_h", (1280, 32, 16, 14)),
        ("vit_2b", (2560, 24, 32, 14)),
    ],
)
def test_published_architectures_are_those_of_table_7(name, row):
    assert ARCHITECTURES[name] == dict(
        zip(("embed_dim", "num_blocks", "num_heads", "patch_size"), row, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "millions"),
    [("vit_tiny", 5.6), ("vit_small", 21.7), ("vit_b", 86), ("vit_l", 307), ("vit_h", 632)]
    + [("vit_2b", 1890)],
)
def test_architectures_have_the_published_numbers_of_parameters(name, millions):
    """As rounded in the papers; that of ViT-L is stated with its classification head."""
    with torch.device("meta"):
        vit = build_vit(**ARCHITECTURES[name])
    assert count_parameters(vit) / 1e6 == pytest.approx(millions, rel=0.015)


def test_the_mlp_of_vit_2b_is_10240_wide():
    with torch.device("meta"):
        vit = build_vit(**ARCHITECTURES["vit_2b"])
    assert vit.blocks[23].mlp.fc1.out_features == 10_240


def test_stochastic_depth_rises_to_its_rate_and_needs_training():
    vit = build_vit(**TINY, drop_path_rate=0.2)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in vit.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    images = torch.randn(2, 3, 24, 24)
    expected = build_vit(**TINY).eval()(images)
    assert torch.equal(vit.eval()(images), expected)  # the same weights, and nothing dropped


@pytest.mark.parametrize("rate", [-0.1, 1])
def test_a_rate_of_stochastic_depth_out_of_range_is_refused(rate):
    with pytest.raises(InputError, match=rf"^drop_path_rate must be in \[0, 1\), got {rate}\.$"):
        build_vit(**TINY, drop_path_rate=rate)


def test_a_vit_is_built_as_mae_builds_it():
    vit = tiny_vit()
    assert [vit.embed_dim, len(vit.blocks), vit.blocks[0].attn.num_heads] == [12, 5, 3]
    assert vit.patch_embed.patch_size == (4, 4)
    assert vit.pos_embed.shape == (1, 6 * 6 + 1, 12)  # the class token has a position
    assert vit.num_prefix_tokens == 1
    assert {m.eps for m in vit.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}
    assert count_parameters(vit.head) == 0


def test_random_weights_are_the_same_in_every_build_whatever_the_global_seed():
    torch.manual_seed(1)
    first = build_vit(**TINY).state_dict()
    torch.manual_seed(2)
    second = build_vit(**TINY).state_dict()
    other = build_vit(**TINY, init_seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["blocks.2.attn.qkv.weight"], other["blocks.2.attn.qkv.weight"])


def test_building_does_not_disturb_the_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    build_vit(**TINY)
    assert torch.equal(torch.rand(5), expected)


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match=r"^embed_dim=12 is not a multiple of num_heads=5\.$"):
        build_vit(**{**TINY, "num_heads": 5})


def test_a_pretrain_size_that_patches_do_not_divide_is_refused():
    with pytest.raises(InputError, match=r"^pretrain_size=26 is not a multiple of patch_size=4\.$"):
        build_vit(**{**TINY, "pretrain_size": 26})


def test_random_weights_start_as_those_of_maes_encoder():
    """Xavier-uniform matrices, and at (row, column) of the grid sines and cosines of both."""
    vit = build_vit(embed_dim=8, num_blocks=1, num_heads=2, patch_size=4, pretrain_size=12)
    weight = vit.blocks[0].mlp.fc1.weight.detach()
    bound = math.sqrt(6 / (8 + 32))
    assert weight.abs().max() <= bound and weight.std() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert torch.equal(vit.pos_embed[0, 0], torch.zeros(8))  # the class token has no place
    frequencies = [1, 1 / 100]  # 10000 ** -(i / 2)
    for row, column in [(0, 0), (1, 2), (2, 1)]:
        positions = sorted(vit.pos_embed[0, 1 + 3 * row + column].tolist())
        angles = [place * f for place in (row, column) for f in frequencies]
        expected = sorted(f(angle) for angle in angles for f in (math.sin, math.cos))
        assert positions == pytest.approx(expected, abs=1e-5)
