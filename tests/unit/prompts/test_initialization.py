import pytest
import torch

from bpt_det.prompts import BlockStatistics, FreePrompt
from bpt_det.prompts.initialization import TOKEN_INITIALIZATIONS, tokens_to_prompts
from bpt_det.utils.errors import InputError

IMAGES, TOKENS, WIDTH = 3, 11, 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def tokens():
    return torch.randn(IMAGES, TOKENS, WIDTH, generator=seeded(1), dtype=torch.float64)


def windows_of(image, count):
    """Cut (N, D) into consecutive windows of nearly the same length, longer ones first."""
    length_of_all, num_longer = divmod(len(image), count)
    start = 0
    for index in range(count):
        length = length_of_all + (index < num_longer)
        yield image[start : start + length]
        start += length


def contains(rows, row):
    return any(torch.allclose(row, other) for other in rows)


def test_a_random_sample_is_of_different_tokens_of_any_image(tokens):
    prompts = tokens_to_prompts("random_sample", tokens, 20, seeded())
    rows = tokens.reshape(-1, WIDTH)
    origins = [int((rows == prompt).all(dim=1).nonzero()) for prompt in prompts]
    assert len(set(origins)) == 20
    assert {origin // TOKENS for origin in origins} == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "pool"),
    [("mean_pool", lambda w: sum(w) / len(w)), ("max_pool", lambda w: torch.stack([*w]).max(0)[0])],
)
def test_a_pool_is_over_windows_of_consecutive_tokens_of_one_image(tokens, name, pool):
    prompts = tokens_to_prompts(name, tokens, 4, seeded())
    candidates = [pool(list(w)) for image in tokens for w in windows_of(image, 4)]
    assert prompts.shape == (4, WIDTH)
    assert all(contains(candidates, prompt) for prompt in prompts)
    assert len(torch.unique(prompts, dim=0)) == 4


def test_kmeans_centers_are_the_means_of_the_tokens_nearest_to_them(tokens):
    centers = tokens_to_prompts("kmeans", tokens, 4, seeded())
    rows = tokens.reshape(-1, WIDTH)
    nearest = torch.cdist(rows, centers).argmin(dim=1)
    for index, center in enumerate(centers):
        torch.testing.assert_close(center, rows[nearest == index].mean(dim=0))


def test_kmeans_finds_separate_clusters():
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    tokens = means[:, None] + 0.1 * torch.randn(3, 40, 2, generator=seeded())
    centers = tokens_to_prompts("kmeans", tokens, 3, seeded())
    for mean in means:
        assert (centers - mean).norm(dim=1).min() < 0.1


@pytest.mark.parametrize("name", TOKEN_INITIALIZATIONS)
def test_the_same_seed_gives_the_same_prompts(tokens, name):
    first, second, other = (tokens_to_prompts(name, tokens, 4, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "available", "source"),
    [
        ("random_sample", IMAGES * TOKENS, "statistics"),
        ("kmeans", IMAGES * TOKENS, "statistics"),
        ("mean_pool", TOKENS, "image"),
        ("max_pool", TOKENS, "image"),
    ],
)
def test_more_prompts_than_tokens_are_refused_with_both_numbers(tokens, name, available, source):
    tokens_to_prompts(name, tokens, available, seeded())
    with pytest.raises(InputError) as refused:
        tokens_to_prompts(name, tokens, available + 1, seeded())
    text = str(refused.value)
    assert f"'{name}'" in text and source in text and f" {available};" in text
    assert f"prompt_length={available + 1}" in text


@pytest.mark.parametrize("name", TOKEN_INITIALIZATIONS)
def test_free_prompts_are_unset_until_they_get_the_tokens(tokens, name):
    prompt = FreePrompt(4, WIDTH, patch_size=2, init=name).double()
    assert prompt.needed_statistics == "tokens"
    assert prompt.tokens.isnan().all()
    statistics = BlockStatistics(None, 0, tokens, token_rms=1.0, patch_size=2)
    prompt.reset_parameters(seeded(), statistics)
    assert torch.equal(prompt.tokens, tokens_to_prompts(name, tokens, 4, seeded()))


def test_uniform_prompts_need_no_statistics():
    assert FreePrompt(4, WIDTH, patch_size=2).needed_statistics is None


def test_an_unknown_initialization_is_refused_with_the_known_ones():
    known = "uniform, random_sample, kmeans, mean_pool, max_pool"
    with pytest.raises(InputError, match=f"^init must be one of {known}, got 'zeros'"):
        FreePrompt(4, WIDTH, patch_size=2, init="zeros")


@pytest.mark.parametrize("has_positions", [False, True])
def test_prompts_of_block_0_start_without_positions_as_the_authors_do(tokens, has_positions):
    """WangYZ1608/Self-Prompt-Tuning@ce0754f train_MAE.py:186-197: x = patch_embed(images)."""
    positions = 5 + torch.arange(tokens.shape[1]).double()[:, None]
    statistics = BlockStatistics(
        None, 0, tokens + positions, token_rms=1.0, patch_size=2, patch_embeddings=tokens
    )
    prompt = FreePrompt(
        4, WIDTH, patch_size=2, init="random_sample", init_positions=has_positions
    ).double()
    prompt.reset_parameters(seeded(), statistics)
    rows = (tokens + positions if has_positions else tokens).flatten(end_dim=1)
    for row in prompt.tokens:
        assert (rows == row).all(dim=1).any()
