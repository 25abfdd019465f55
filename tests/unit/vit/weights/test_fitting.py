import pytest
import torch
import torch.nn.functional as F
from timm.layers import resample_patch_embed

from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit, load_weights
from tests.support.vits import timm_state, write_mae_file

SIZES = {"embed_dim": 12, "num_blocks": 2, "num_heads": 3}
FILE = {**SIZES, "patch_size": 7, "pretrain_size": 35}  # a grid of 5 x 5
ASKED = {**SIZES, "patch_size": 8, "pretrain_size": 35, "pretrained_patch_size": 7}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mae_pretrain_vit_huge.pth"


def refusal(path, **sizes):
    with pytest.raises(InputError) as caught:
        build_vit(**sizes, checkpoint=str(path))
    return str(caught.value)


def test_patches_of_14_at_stride_16_keep_the_grid_of_positions():
    """As in ViTDet-H: 224 / 14 = 16 patches a side, so images of 256 pixels fit unresampled."""
    sizes = {**SIZES, "patch_size": 16, "pretrain_size": 224, "pretrained_patch_size": 14}
    vit = build_vit(**sizes)
    assert vit.patch_embed.patch_size == (16, 16) and vit.patch_embed.grid_size == (16, 16)
    assert vit.patch_embed.img_size == (256, 256)
    assert vit.pos_embed.shape == (1, 16 * 16 + 1, 12)


def test_an_enlarged_patch_is_embedded_as_the_patch_before(path):
    """Independent of timm: the resampled kernel undoes the enlargement of the image."""
    state = write_mae_file(path, FILE)
    vit = build_vit(**ASKED, checkpoint=str(path)).double()
    weight, bias = (state[f"patch_embed.proj.{n}"].double() for n in ("weight", "bias"))
    patches = torch.randn(6, 3, 7, 7, dtype=torch.float64)
    enlarged = F.interpolate(patches, size=(8, 8), mode="bicubic", antialias=True)
    embedded = torch.stack([vit.patch_embed(e.repeat(1, 5, 5)[None])[0, 3, 1] for e in enlarged])
    torch.testing.assert_close(
        embedded, F.conv2d(patches, weight, bias)[..., 0, 0], rtol=0, atol=1e-5
    )


def test_the_resampled_kernel_is_the_pseudo_inverse_of_the_enlargement(path):
    """ŵ = pinv(Bᵀ) w for the matrix B of the enlargement, column by column, in float64."""
    state = write_mae_file(path, FILE)
    vit = build_vit(**ASKED, checkpoint=str(path))
    unit_images = torch.eye(49, dtype=torch.float64).reshape(49, 1, 7, 7)
    enlarged = F.interpolate(unit_images, size=(8, 8), mode="bicubic", antialias=True)
    inverse = torch.linalg.pinv(enlarged.reshape(49, 64))  # rows are B's columns
    kernels = state["patch_embed.proj.weight"].double().reshape(12, 3, 49)
    expected = (kernels @ inverse.T).reshape(12, 3, 8, 8).float()
    torch.testing.assert_close(vit.patch_embed.proj.weight.detach(), expected, rtol=0, atol=1e-5)


def test_the_patch_embedding_is_timms_and_nothing_else_is_touched(path):
    state = write_mae_file(path, FILE)
    vit = build_vit(**{**ASKED, "pretrained_patch_size": 7})
    report = load_weights(vit, str(path), pretrained_patch_size=7)
    loaded, name = vit.state_dict(), "patch_embed.proj.weight"
    assert torch.equal(loaded.pop(name), resample_patch_embed(state.pop(name), [8, 8]))
    assert all(torch.equal(loaded[other], state[other]) for other in state)
    assert report.resampled == "patch_embed.proj.weight 7x7 -> 8x8 pixels"
    assert "  resampled:  patch_embed.proj.weight 7x7 -> 8x8 pixels\n" in str(report)


def test_patches_and_positions_can_both_be_resampled(path):
    write_mae_file(path, {**FILE, "pretrain_size": 42})
    report = load_weights(build_vit(**ASKED), str(path), pretrained_patch_size=7)
    assert report.resampled == (
        "patch_embed.proj.weight 7x7 -> 8x8 pixels; pos_embed 6x6 -> 5x5 (pretrain_size=42 would "
        "keep it, and resample only once, to the image)"
    )


def test_a_file_that_is_resampled_already_is_loaded_as_it_is(path):
    state = write_mae_file(path, {**FILE, "patch_size": 8, "pretrain_size": 40})
    report = load_weights(build_vit(**ASKED), str(path), pretrained_patch_size=7)
    assert report.resampled == ""
    assert state.keys() == timm_state(FILE).keys()


@pytest.mark.parametrize("pretrained_patch_size", [None, 6])
def test_patches_of_neither_size_are_refused_with_the_override(path, pretrained_patch_size):
    write_mae_file(path, FILE)
    sizes = {**ASKED, "pretrain_size": 30, "patch_size": 5}
    sizes["pretrained_patch_size"] = pretrained_patch_size
    text = refusal(path, **sizes)
    assert "patch_embed.proj.weight is (12, 3, 7, 7) but the ViT needs (12, 3, 5, 5)" in text
    assert text.endswith(", or resample its patches: patch_size=5 pretrained_patch_size=7.")


def test_a_pretrain_size_is_a_multiple_of_the_pretrained_patch_size():
    with pytest.raises(
        InputError, match=r"^pretrain_size=35 is not a multiple of pretrained_patch_size=8\.$"
    ):
        build_vit(**{**ASKED, "pretrained_patch_size": 8})
