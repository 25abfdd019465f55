"""Token statistics and whitening of every family, against independent writings."""

import pytest
import torch

from bpt_det.prompts import WhitenedPrompt, Whitening
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT, collect_statistics
from bpt_det.vit.analysis import measure_burstiness
from tests.support.families import FAMILIES, ToyNetwork, images_of_size, small_network

D, INDEX = 24, 3


def inputs_of_attention(vit, images):
    """What timm's own forward pass hands to the attention of a block."""
    seen = []
    handle = vit.blocks[INDEX].attn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    vit.forward_features(images)
    handle.remove()
    return seen[0].flatten(end_dim=1)


def product_of(attention):
    """M = Wq Wkᵀ, summed over heads, from what the projections make of the axes."""
    axes, zero = torch.eye(D).double(), torch.zeros(1, D).double()
    if attention.qkv is not None:
        query, key, _ = (attention.qkv(axes) - attention.qkv(zero)).chunk(3, dim=-1)
    else:
        query, key = (p(axes) - p(zero) for p in (attention.q_proj, attention.k_proj))
    size = D // attention.num_heads
    shared = query.shape[1] // key.shape[1]
    product = torch.zeros(D, D).double()
    for head in range(attention.num_heads):
        of_query = query[:, head * size : (head + 1) * size]
        of_key = key[:, (head // shared) * size : (head // shared + 1) * size]
        product += of_query @ of_key.T
    return product


@pytest.mark.parametrize("family", FAMILIES)
def test_the_second_moment_is_of_what_the_attention_sees_times_its_product(family):
    vit, images = small_network(family), images_of_size(20, 36).double()
    statistics = collect_statistics(vit, [images], {INDEX: "second_moment"}).blocks[INDEX]
    interaction = inputs_of_attention(vit, images) @ product_of(vit.blocks[INDEX].attn).T
    expected = interaction.T @ interaction / len(interaction)
    torch.testing.assert_close(statistics.second_moment, expected)
    assert statistics.num_tokens == 2 * (vit.num_prefix_tokens + 45)


@pytest.mark.parametrize("family", ["dinov3", "eva02_base", "eva02_enormous", "sapiens2"])
def test_whitened_prompts_of_a_family_start_from_its_statistics_and_whiten_it(family):
    vit, images = small_network(family), images_of_size(32, 32).double()
    model = PromptedViT(vit, WhitenedPrompt(4, D, train_basis=False), [INDEX]).double()
    statistics = collect_statistics(vit, [images], model.needed_statistics)
    model.initialize_prompts(0, statistics)
    basis = model.prompts[str(INDEX)].basis
    whitened = basis @ statistics.blocks[INDEX].second_moment @ basis
    values = torch.linalg.eigvalsh(whitened / whitened.diagonal().max())
    assert ((values > 0.9) | (values < 1e-6)).all()  # the same in all directions that it keeps
    with pytest.raises(InputError, match="are of another frozen ViT"):
        PromptedViT(
            small_network("rope"), WhitenedPrompt(4, D, train_basis=False), [INDEX]
        ).initialize_prompts(0, statistics)


@pytest.mark.parametrize("family", ["dinov3", "rope_mixed"])
def test_burstiness_is_measured_with_rotary_positions(family):
    vit, images = small_network(family), images_of_size(20, 36).double()
    results = measure_burstiness(vit, [images], Whitening(scale="none"))
    seen = inputs_of_attention(vit, images)
    centered = seen - seen.mean()
    kurtosis = (centered**4).mean() / (centered**2).mean() ** 2 - 3
    assert results[INDEX].tokens.kurtosis == pytest.approx(kurtosis.item(), rel=1e-6)


def test_a_network_without_queries_and_keys_has_no_second_moments_and_says_so():
    with pytest.raises(InputError, match="a Linear has no norm1; choose prompts that need no stat"):
        collect_statistics(ToyNetwork(), [images_of_size(15, 20)], {2: "second_moment"})


def test_a_network_without_queries_and_keys_has_tokens():
    network, images = ToyNetwork(), images_of_size(15, 20)
    statistics = collect_statistics(network, [images], {0: "tokens", 2: "tokens"}).blocks
    positions, entering = network.positions((3, 4)), network.embed(images)
    torch.testing.assert_close(statistics[0].tokens, entering[:, 2:].detach())
    for index in range(2):
        entering = network.run_block(index, entering, positions, 0)
    torch.testing.assert_close(statistics[2].tokens, entering[:, 2:].detach())
