"""Burstiness against plain formulas of kurtosis, and centering of the last tokens."""

import numpy as np
import pytest
import scipy.stats
import torch

from bpt_det.prompts import Whitening
from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit
from bpt_det.vit.analysis import (
    EntryStream,
    center_last_tokens,
    describe_entries,
    measure_burstiness,
)
from bpt_det.vit.embedding import embed_images

SIZES = {"embed_dim": 16, "num_blocks": 3, "num_heads": 2, "patch_size": 4, "pretrain_size": 16}


def test_the_kurtosis_of_a_stream_is_that_of_all_its_values():
    values = torch.distributions.Laplace(2.0, 0.5).sample((5000,))
    stream = EntryStream(torch.Generator().manual_seed(0), max_kept=100)
    for part in values.view(10, 20, 25):
        stream.update(part)
    entries = stream.entries()
    expected = scipy.stats.kurtosis(values.double().numpy())
    assert entries.kurtosis == pytest.approx(expected, rel=1e-9)
    assert 2 < expected < 5  # 3 is that of all Laplace distributions
    assert entries.sample.shape == (1000,)
    assert np.isin(entries.sample, values.numpy()).all()


def test_a_sample_is_the_same_for_a_seed_and_whole_where_it_is_small():
    matrix = torch.randn(30, 40)
    samples = [describe_entries(matrix, max_entries=500, seed=s).sample for s in (0, 0, 1)]
    np.testing.assert_array_equal(samples[0], samples[1])
    assert (samples[0] != samples[2]).any() and len(samples[0]) == 500
    np.testing.assert_array_equal(describe_entries(matrix).sample, matrix.flatten().numpy())


def test_values_that_are_all_equal_have_no_kurtosis():
    assert np.isnan(describe_entries(torch.full((3, 4), 0.5)).kurtosis)


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
        ("whitened_product", whiten @ product),
        ("whitened", whiten @ interaction),
    ):
        entries = getattr(measured, name)
        expected = scipy.stats.kurtosis(matrix, axis=None)
        assert entries.kurtosis == pytest.approx(expected, rel=1e-3), name
        both = np.sort(entries.sample), np.sort(matrix, axis=None)
        np.testing.assert_allclose(*both, rtol=1e-2, atol=1e-3, err_msg=name)
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
