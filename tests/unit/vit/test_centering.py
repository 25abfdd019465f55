"""Last tokens that are moved to a mean of 0."""

import pytest
import torch

from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit
from bpt_det.vit.centering import center_last_tokens
from bpt_det.vit.embedding import embed_images

SIZES = {"embed_dim": 16, "num_blocks": 2, "num_heads": 2, "patch_size": 4, "pretrain_size": 16}


def last_patches(vit, images):
    tokens = embed_images(vit, images)
    for block in vit.blocks:
        tokens = block(tokens)
    return tokens[:, 1:]


@torch.no_grad()
def test_the_mean_over_all_patches_becomes_0_and_differences_stay():
    vit = build_vit(**SIZES).eval()
    batches = torch.randn(5, 3, 16, 16).split(3)  # of different sizes
    before = torch.cat([last_patches(vit, images) for images in batches])
    taken = center_last_tokens(vit, batches)
    after = torch.cat([last_patches(vit, images) for images in batches])
    mean = before.mean(dim=(0, 1))
    assert taken == pytest.approx(mean.square().mean().sqrt().item(), rel=1e-5)
    assert taken > 0.1
    torch.testing.assert_close(after, before - mean)


@torch.no_grad()
def test_nothing_but_the_last_bias_changes():
    vit = build_vit(**SIZES).eval()
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    center_last_tokens(vit, [torch.randn(2, 3, 16, 16)])
    after = vit.state_dict()
    assert [name for name in after if not torch.equal(after[name], before[name])] == [
        "blocks.1.mlp.fc2.bias"
    ]


def test_no_images_are_refused():
    with pytest.raises(InputError, match="without images; give at least one"):
        center_last_tokens(build_vit(**SIZES), [])
