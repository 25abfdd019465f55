"""Table of backbones against timm, which builds each without memory or network."""

import pytest
import timm
import torch

from bpt_det.vit import BACKBONES, adapt
from bpt_det.vit.backbones import to_pixels
from bpt_det.vit.timm_models import _check_module


@pytest.mark.parametrize("name", BACKBONES)
def test_a_row_is_what_timm_has(name):
    row = BACKBONES[name]
    published = timm.get_pretrained_cfg(row.timm_name)
    assert row.timm_name == f"{row.architecture}.{published.tag}"
    assert (row.name, row.license) == (name, published.license)
    assert (row.pixel_mean, row.pixel_std) == (to_pixels(published.mean), to_pixels(published.std))
    assert published.input_size == (3, row.image_size, row.image_size)
    _check_module(row.timm_name)
    with torch.device("meta"):
        vit = timm.create_model(row.timm_name, dynamic_img_size=True)
    network = adapt(vit)
    attention = next(m for m in vit.blocks[0].modules() if hasattr(m, "num_heads"))
    assert (network.embed_dim, attention.num_heads) == (row.embed_dim, row.num_heads)
    assert (len(network.blocks), network.patch_size) == (row.num_blocks, row.patch_size)
    norms = (vit.norm, vit.fc_norm)
    assert not row.final_norm or any(not isinstance(n, torch.nn.Identity) for n in norms)


def test_there_are_about_twenty_of_every_family():
    assert len(BACKBONES) >= 20
    tags = {name.partition("_")[0] for name in BACKBONES}
    assert tags >= {"dinov3", "dinov2", "eva02", "pe", "rope", "siglip2", "clip", "supervised"}


def test_settings_keep_patches_or_resample_them_from_the_published_size():
    settings = BACKBONES["dinov2_b"].settings()
    assert (settings["patch_size"], settings["pretrained_patch_size"]) == (14, None)
    settings = BACKBONES["dinov2_b"].settings(16)
    assert (settings["patch_size"], settings["pretrained_patch_size"]) == (16, 14)
    assert BACKBONES["dinov3_b"].layers == [2, 5, 8, 11]
