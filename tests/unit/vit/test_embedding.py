"""Images cut to the ViT's square; patches as a matrix product against timm's convolution."""

import numpy as np
import pytest
import torch
from timm.layers import PatchEmbed
from torch import nn

from bpt_det.utils.errors import InputError
from bpt_det.vit.embedding import center_square, embed_images, grid_size
from bpt_det.vit.network import embed_by_product, is_product
from tests.support.vits import tiny_vit


def patch_embedding(patch_size=(4, 7), **settings):
    return PatchEmbed(None, patch_size, 3, 12, output_fmt="NHWC", **settings).double()


def images_of(height=20, width=28):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, height, width, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(
    "settings", [{}, {"bias": False}, {"norm_layer": nn.LayerNorm}], ids=["bias", "none", "norm"]
)
def test_patches_by_a_product_equal_those_of_the_convolution(settings):
    patch_embed, images = patch_embedding(**settings), images_of()
    patches = embed_by_product(patch_embed, images)
    assert patches.shape == (2, 5, 4, 12)
    torch.testing.assert_close(patches, patch_embed(images))


def test_the_gradients_of_the_product_equal_those_of_the_convolution():
    patch_embed, images = patch_embedding(), images_of()
    parameters = list(patch_embed.parameters())
    by_product = torch.autograd.grad(
        embed_by_product(patch_embed, images).square().sum(), parameters
    )
    by_convolution = torch.autograd.grad(patch_embed(images).square().sum(), parameters)
    torch.testing.assert_close(by_product, by_convolution)


def test_under_autocast_the_product_differs_from_the_convolution_by_its_rounding():
    patch_embed, images = patch_embedding().float(), images_of().float()
    with torch.autocast("cpu", torch.bfloat16):
        patches, expected = embed_by_product(patch_embed, images), patch_embed(images)
    assert patches.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(patches, expected, atol=2**-8, rtol=2**-7)


def test_only_timms_embedding_for_any_size_is_computed_as_a_product():
    class Other(PatchEmbed):
        pass

    assert is_product(tiny_vit().patch_embed)
    assert not is_product(PatchEmbed(20, 4, 3, 12))
    assert not is_product(Other(None, 4, 3, 12, output_fmt="NHWC"))


def test_on_a_cpu_tokens_equal_those_of_timm_to_the_last_bit():
    vit, images = tiny_vit().double(), images_of()
    expected = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    assert torch.equal(embed_images(vit, images), expected)


@pytest.mark.gpu
def test_on_a_gpu_tokens_equal_those_of_the_cpu():
    vit, images = tiny_vit().double(), images_of()
    expected = embed_images(vit, images)
    torch.testing.assert_close(embed_images(vit.cuda(), images.cuda()).cpu(), expected)


def test_an_image_of_the_right_height_is_cut_in_its_center_and_normalized_by_channel():
    image = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    square = center_square(image, 6, pixel_mean=[1.0, 2.0, 3.0], pixel_std=[2.0, 4.0, 8.0])
    expected = (image[:, 2:8].astype(np.float32) - [1, 2, 3]) / [2, 4, 8]
    assert square.dtype == torch.float32
    np.testing.assert_allclose(square.permute(1, 2, 0).numpy(), expected, rtol=1e-6)


def test_a_vit_that_takes_bgr_gets_the_channels_in_that_order():
    image = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
    square = center_square(image, 6, [1.0, 2.0, 3.0], [1.0] * 3, "BGR")
    expected = image[:, :, ::-1].astype(np.float32) - [1, 2, 3]
    np.testing.assert_array_equal(square.permute(1, 2, 0).numpy(), expected)


def test_the_shorter_side_of_an_image_becomes_the_squares():
    image = np.zeros((40, 30, 3), np.uint8)
    image[:20] = 200  # the upper half stays the upper half
    square = center_square(image, 12, [0.0] * 3, [1.0] * 3)
    assert square.shape == (3, 12, 12)
    assert (square[:, :4] == 200).all() and (square[:, 8:] == 0).all()


def test_the_grid_is_the_image_size_in_patches_of_which_it_must_be_a_multiple():
    assert grid_size(4, 20, 28) == (5, 7)
    with pytest.raises(InputError, match="20x30 is not a multiple of patch_size=4"):
        grid_size(4, 20, 30)
