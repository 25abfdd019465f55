import numpy as np
import pytest
import torch

from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit, load_weights
from tests.support.vits import TINY_PRETRAIN_SIZE, TINY_SIZES
from tests.support.weight_files import write_google_file

MICRO = {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE}
ATTENTION = "Transformer/encoderblock_2/MultiHeadDotProductAttention_1"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ViT-B_16.npz"


def rewrite(path, change):
    """Apply ``change`` to the arrays of a file."""
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)


def refusal(path, sizes=MICRO):
    with pytest.raises(InputError) as caught:
        build_vit(**sizes, checkpoint=str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_attention_is_that_of_the_jax_layout(path):
    """Queries, keys, values and output by Flax's formula, from the arrays of the file."""
    write_google_file(path, MICRO)
    attention = build_vit(**MICRO, checkpoint=str(path)).double().blocks[2].attn
    with np.load(path) as file:
        w = {
            name.removeprefix(f"{ATTENTION}/"): torch.from_numpy(file[name]).double()
            for name in file.files
            if name.startswith(ATTENTION)
        }
    x = 9 * torch.randn(1, 7, 12, dtype=torch.float64)
    q, k, v = (
        torch.einsum("bnd,dhk->bnhk", x, w[f"{part}/kernel"]) + w[f"{part}/bias"]
        for part in ("query", "key", "value")
    )
    scores = torch.einsum("bnhk,bmhk->bhnm", q, k) / 2  # heads are 4 wide
    mixed = torch.einsum("bhnm,bmhk->bnhk", scores.softmax(dim=-1), v)
    expected = torch.einsum("bnhk,hkd->bnd", mixed, w["out/kernel"]) + w["out/bias"]
    torch.testing.assert_close(attention(x), expected)


def test_patches_are_embedded_as_in_the_jax_layout(path):
    """A kernel of (row, column, color, width)."""
    write_google_file(path, MICRO)
    vit = build_vit(**MICRO, checkpoint=str(path))
    with np.load(path) as file:
        kernel, bias = (torch.from_numpy(file[f"embedding/{n}"]) for n in ("kernel", "bias"))
    image = torch.randn(1, 3, 24, 24)
    patch = image[0, :, 8:12, 16:20]  # row 2, column 4 of the grid
    expected = torch.einsum("crs,rscd->d", patch, kernel) + bias
    torch.testing.assert_close(vit.patch_embed(image)[0, 2, 4], expected)


def test_heads_of_classification_are_ignored_and_named(path):
    write_google_file(path, MICRO)
    report = load_weights(build_vit(**MICRO), str(path))
    assert report.ignored == ("pre_logits/kernel", "pre_logits/bias", "head/kernel", "head/bias")


def test_the_report_tells_how_the_images_were_normalized(path):
    write_google_file(path, MICRO)
    assert str(load_weights(build_vit(**MICRO), str(path))).splitlines()[-1] == (
        "  images:     trained with pixel_mean=[127.5, 127.5, 127.5] "
        "pixel_std=[127.5, 127.5, 127.5]"
    )


def test_the_file_knows_its_number_of_heads(path):
    write_google_file(path, MICRO)
    text = refusal(path, {**MICRO, "num_heads": 4})
    assert "does not hold this ViT: num_heads=4 but it was made with 3. " in text


@pytest.mark.parametrize(
    "name",
    [
        "cls",
        "embedding/kernel",
        "Transformer/encoder_norm/bias",
        "Transformer/encoderblock_0/MlpBlock_3/Dense_0/bias",
        f"{ATTENTION}/key/kernel",
    ],
)
def test_a_missing_array_is_named(path, name):
    write_google_file(path, MICRO)
    rewrite(path, lambda arrays: arrays.pop(name))
    text = refusal(path)
    assert text.startswith(f"'{path}' does not hold a whole ViT in Google's layout: {name}")
    assert "download it again" in text


def test_an_array_that_does_not_fit_the_others_is_named_with_both_shapes(path):
    write_google_file(path, MICRO)
    rewrite(path, lambda arrays: arrays.update({f"{ATTENTION}/key/kernel": np.zeros((12, 3, 5))}))
    text = refusal(path)
    assert f"'{path}' does not hold this ViT: " in text
    assert "blocks.2.attn.qkv.weight is (39, 12) but the ViT needs (36, 12)" in text


def test_an_array_of_too_few_dimensions_is_refused(path):
    write_google_file(path, MICRO)
    rewrite(path, lambda arrays: arrays.update({f"{ATTENTION}/key/kernel": np.zeros(12)}))
    assert f"'{path}' does not hold a whole ViT in Google's layout: " in refusal(path)


def test_reading_does_not_disturb_the_global_generator(path):
    write_google_file(path, MICRO)
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    build_vit(**MICRO, checkpoint=str(path))
    assert torch.equal(torch.rand(5), expected)
