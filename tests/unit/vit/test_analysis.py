"""Burstiness against plain formulas of kurtosis, and centering of the last tokens."""

import numpy as np
import pytest
import scipy.stats
import torch

from bpt_det.prompts import Whitening
from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit
from bpt_det.vit.analysis import Moments, center_last_tokens, measure_burstiness
from bpt_det.vit.embedding import embed_images

SIZES = {"embed_dim": 16, "num_blocks": 3, "num_heads": 2, "patch_size": 4, "pretrain_size": 16}


def test_the_kurtosis_of_a_stream_is_that_of_all_its_values():
    values = torch.distributions.Laplace(2.0, 0.5).sample((5000,))
    moments = Moments()
    for part in values.view(10, 20, 25):
        moments.update(part)
    expected = scipy.stats.kurtosis(values.double().numpy())
    assert moments.excess_kurtosis() == pytest.approx(expected, rel=1e-9)
    assert 2 < expected < 5  # 3 is that of all Laplace distributions


def test_values_that_are_all_equal_have_no_kurtosis():
    moments = Moments()
    moments.update(torch.full((3, 4), 0.5))
    assert np.isnan(moments.excess_kurtosis())


def test_every_block_is_measured_on_the_tokens_after_its_norm():
    vit = build_vit(**SIZES).eval()
    batches = [torch.randn(3, 3, 16, 16), torch.randn(2, 3, 16, 16)]
    whitening = Whitening(eps=1e-8, floor="clamp", scale="none")
    results = measure_burstiness(vit, batches, whitening)
    assert len(results) == 3
    images = torch.cat(batches)
    tokens = vit._pos_embed(vit.patch_embed(images))
    tokens = vit.blocks[0](tokens)  # what enters block 1
    x = vit.blocks[1].norm1(tokens).flatten(end_dim=1).detach().double().numpy()
    weight = vit.blocks[1].attn.qkv.weight.detach().double().numpy()
    product = weight[:16].T @ weight[16:32]
    interaction = product @ x.T
    second_moment = interaction @ interaction.T / x.shape[0]
    eigenvalues, vectors = np.linalg.eigh(second_moment)
    whiten = vectors @ np.diag(np.maximum(eigenvalues, eigenvalues[-1] * 1e-8) ** -0.5) @ vectors.T
    measured = results[1]
    for name, matrix in (
        ("product", product),
        ("tokens", x),
        ("interaction", interaction),
        ("whitened", whiten @ interaction),
    ):
        expected = scipy.stats.kurtosis(matrix, axis=None)
        assert getattr(measured, name) == pytest.approx(expected, rel=1e-3), name
    assert measured.condition_number > 1e12  # the norm takes a direction out, but for rounding
    assert measured.rank == (eigenvalues >= 1e-8 * eigenvalues[-1]).sum()


def test_without_images_there_is_nothing_to_measure():
    with pytest.raises(InputError, match="there are no images"):
        measure_burstiness(build_vit(**SIZES), [], Whitening())


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
    subtracted = center_last_tokens(vit, batches)
    after = torch.cat([last_patches(vit, images) for images in batches])
    mean = before.mean(dim=(0, 1))
    assert subtracted == pytest.approx(mean.square().mean().sqrt().item(), rel=1e-5)
    assert subtracted > 0.1
    torch.testing.assert_close(after, before - mean)


@torch.no_grad()
def test_nothing_but_the_last_bias_changes():
    vit = build_vit(**SIZES).eval()
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    center_last_tokens(vit, [torch.randn(2, 3, 16, 16)])
    after = vit.state_dict()
    assert [name for name in after if not torch.equal(after[name], before[name])] == [
        "blocks.2.mlp.fc2.bias"
    ]


def test_without_images_nothing_is_centered():
    with pytest.raises(InputError, match="without images; give at least one"):
        center_last_tokens(build_vit(**SIZES), [])
