import functools
import math

import pytest
import torch
import torch.nn.functional as F

from bpt_det.prompts import BilinearPrompt, BlockStatistics, FreePrompt, WhitenedPrompt, Whitening
from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, PromptedViT, build_vit

PROMPTS = [
    lambda: FreePrompt(prompt_length=7, embed_dim=10, patch_size=3),
    lambda: BilinearPrompt(prompt_length=7, rank=4, embed_dim=10),
]


def free(prompt_length):
    return lambda width, patch: FreePrompt(prompt_length, width, patch)


def whitened(prompt_length, train_basis):
    return lambda width, patch: WhitenedPrompt(prompt_length, width, train_basis=train_basis)


def bilinear(prompt_length, rank, basis_init="xavier"):
    return lambda width, patch: BilinearPrompt(prompt_length, rank, width, basis_init=basis_init)


@functools.cache
def meta_vit(architecture):
    """A ViT without values; shared, as the prompts alone differ between the counts."""
    with torch.device("meta"):
        return build_vit(**ARCHITECTURES[architecture])


def count_trained(architecture, prompt, placement):
    sizes = ARCHITECTURES[architecture]
    with torch.device("meta"):
        built = prompt(sizes["embed_dim"], sizes["patch_size"])
        model = PromptedViT(meta_vit(architecture), built, placement)
    trained = {id(p): p.numel() for p in model.parameters() if p.requires_grad}
    assert trained.keys() <= {id(p) for p in model.prompts.parameters()}
    return sum(trained.values())


@pytest.mark.parametrize(
    ("prompt", "placement", "count"),
    [
        (free(100), "shallow", 76_800),
        (whitened(100, train_basis=False), "shallow", 76_800),
        (whitened(100, train_basis=True), "shallow", 666_624),
        (bilinear(100, 75), "shallow", 65_100),
        (bilinear(100, 25), "shallow", 21_700),
        (bilinear(100, 100), "shallow", 86_800),  # COCO
        (bilinear(50, 50), "last_4", 163_600),
        (bilinear(50, 50), "last_12", 490_800),  # the paper's "7.54x shallow"
        (bilinear(50, 50), "all", 490_800),
        (bilinear(50, 50, "whitening"), "released", 183_600),  # its table's 18.36e-2 M
        (bilinear(50, 50), "released", 183_600),  # an initialization adds no parameters
    ],
)
def test_a_vit_b_trains_the_published_number_of_prompt_parameters(prompt, placement, count):
    assert count_trained("vit_b", prompt, placement) == count


@pytest.mark.parametrize(
    ("architecture", "width", "num_blocks"),
    [("vit_l", 1024, 24), pytest.param("vit_h", 1280, 32, marks=pytest.mark.slow)],
)
def test_larger_vits_train_as_many_prompt_parameters_as_the_formulas_say(
    architecture, width, num_blocks
):
    def count(prompt, placement):
        return count_trained(architecture, prompt, placement)

    assert count(free(100), "shallow") == 100 * width
    assert count(free(20), "all") == num_blocks * 20 * width
    assert count(whitened(100, train_basis=False), "shallow") == 100 * width
    assert count(whitened(100, train_basis=True), "shallow") == 100 * width + width**2
    assert count(whitened(50, train_basis=True), "last_4") == 4 * (50 * width + width**2)
    assert count(bilinear(100, 75), "shallow") == (100 + width) * 75
    assert count(bilinear(50, 50), "last_4") == 4 * (50 + width) * 50
    assert count(bilinear(50, 50), "3+1") == 4 * (50 + width) * 50
    assert count(bilinear(50, 50), "interval") == 4 * (50 + width) * 50
    assert count(bilinear(50, 50), "all") == num_blocks * (50 + width) * 50
    assert count(bilinear(50, 50), "released") == num_blocks * 50 * 50 + 4 * width * 50


def test_free_tokens_are_the_parameter_itself_for_every_image():
    prompt = FreePrompt(prompt_length=3, embed_dim=5, patch_size=2)
    tokens = prompt(batch_size=2)
    assert tokens.shape == (2, 3, 5)
    for image in range(2):
        assert torch.equal(tokens[image], prompt.tokens)


@pytest.mark.parametrize("prompt_length", [1, 3, 7, 9])  # squares are not special
def test_bilinear_tokens_are_sums_over_the_rank(prompt_length):
    prompt = BilinearPrompt(prompt_length, rank=4, embed_dim=5).double()
    expected = torch.zeros(2, prompt_length, 5, dtype=torch.float64)
    for image in range(2):
        for token in range(prompt_length):
            for column in range(5):
                for r in range(4):
                    expected[image, token, column] += (
                        prompt.coeff[token, r] * prompt.basis[r, column]
                    )
    torch.testing.assert_close(prompt(batch_size=2), expected)


def test_equals_a_1x1_convolution_over_a_square_grid():
    """Parity with the published layout, which exists only for square prompt lengths."""
    prompt = BilinearPrompt(prompt_length=9, rank=4, embed_dim=8).double()
    grid = prompt.coeff.T.reshape(1, 4, 3, 3)
    expected = F.conv2d(grid, prompt.basis.T[:, :, None, None]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(prompt(batch_size=1), expected)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_bilinear_tokens_span_as_many_dimensions_as_the_rank(rank):
    torch.manual_seed(0)
    prompt = BilinearPrompt(prompt_length=11, rank=rank, embed_dim=8).double()
    assert torch.linalg.matrix_rank(prompt(batch_size=1)[0]) == rank


@pytest.mark.parametrize(
    ("prompt", "trained", "fixed"),
    [
        (FreePrompt(7, 10, patch_size=3), ["tokens"], []),
        (BilinearPrompt(7, 4, 10), ["coeff", "basis"], []),
        (BilinearPrompt(7, 4, 10, basis_init="whitening"), ["coeff", "basis"], []),
        (WhitenedPrompt(7, 10, train_basis=True), ["coeff", "basis"], []),
        (WhitenedPrompt(7, 10, train_basis=False), ["coeff"], ["basis"]),
    ],
)
def test_a_prompt_declares_its_trained_parameters(prompt, trained, fixed):
    named = dict(prompt.named_parameters())
    assert [name for name, parameter in named.items() if parameter.requires_grad] == trained
    assert [name for name, parameter in named.items() if not parameter.requires_grad] == fixed


@pytest.mark.parametrize(
    "prompt", [BilinearPrompt(7, 4, 10), WhitenedPrompt(7, 10, train_basis=True)]
)
def test_a_fixed_basis_is_not_trained_and_the_coefficients_are(prompt):
    prompt.freeze_basis()
    assert prompt.coeff.requires_grad and not prompt.basis.requires_grad


def statistics_of(embed_dim):
    factor = torch.randn(embed_dim, embed_dim, dtype=torch.float64)
    return BlockStatistics(factor @ factor.T, 1000, None, token_rms=0.5, patch_size=3)


def test_whitened_tokens_are_the_coefficients_times_the_transposed_whitening():
    statistics, whitening = statistics_of(10), Whitening(eps=1e-3, scale="vpt")
    prompt = WhitenedPrompt(7, 10, train_basis=False, whitening=whitening)
    assert prompt.needed_statistics == "second_moment" and prompt.basis.isnan().all()
    prompt.reset_parameters(torch.Generator().manual_seed(0), statistics)
    matrix = whitening.matrix(statistics).float()
    for image in prompt(batch_size=2):
        torch.testing.assert_close(image, prompt.coeff @ matrix.T)


def test_a_whitening_basis_is_of_whole_different_columns():
    statistics, whitening = statistics_of(10), Whitening(eps=1e-3, scale="none")
    prompt = BilinearPrompt(7, 6, 10, basis_init="whitening", whitening=whitening).double()
    assert prompt.needed_statistics == "second_moment" and prompt.basis.isnan().all()
    prompt.reset_parameters(torch.Generator().manual_seed(0), statistics)
    matrix = whitening.matrix(statistics)
    drawn = [
        [c for c in range(10) if torch.equal(row, matrix[:, c])] for row in prompt.basis.detach()
    ]
    assert all(len(columns) == 1 for columns in drawn)
    assert len({columns[0] for columns in drawn}) == 6


def test_the_columns_are_drawn_by_the_generator():
    statistics = statistics_of(10)
    prompts = [BilinearPrompt(7, 6, 10, basis_init="whitening") for _ in range(3)]
    for prompt, seed in zip(prompts, (1, 1, 2), strict=True):
        prompt.reset_parameters(torch.Generator().manual_seed(seed), statistics)
    assert torch.equal(prompts[0].basis, prompts[1].basis)
    assert not torch.equal(prompts[0].basis, prompts[2].basis)


def test_an_unknown_basis_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"^basis_init must be one of xavier, whitening, got 'w'"):
        BilinearPrompt(7, 4, 10, basis_init="w")


def test_free_tokens_start_uniform_within_the_bound_of_the_patch_embedding():
    prompt = FreePrompt(prompt_length=200, embed_dim=90, patch_size=3)
    prompt.reset_parameters(torch.Generator().manual_seed(0))
    bound = math.sqrt(6 / (3 * 3**2 + 90))
    assert prompt.tokens.abs().max() <= bound
    assert prompt.tokens.max() > 0.99 * bound and prompt.tokens.min() < -0.99 * bound
    assert prompt.tokens.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_coefficients_start_normal_with_std_0_02_and_the_basis_within_xaviers_bound():
    prompt = BilinearPrompt(prompt_length=300, rank=40, embed_dim=110)
    prompt.reset_parameters(torch.Generator().manual_seed(0))
    assert prompt.coeff.mean().item() == pytest.approx(0, abs=1e-3)
    assert prompt.coeff.std().item() == pytest.approx(0.02, rel=0.03)
    assert prompt.coeff.abs().max() > 3 * 0.02  # has tails: not uniform
    bound = math.sqrt(6 / (40 + 110))
    assert 0.99 * bound < prompt.basis.abs().max() <= bound


@pytest.mark.parametrize("make", PROMPTS)
def test_a_seeded_generator_gives_the_same_initial_values(make):
    first, second = make(), make()
    first.reset_parameters(torch.Generator().manual_seed(5))
    torch.rand(3)  # the global generator has no part in it
    second.reset_parameters(torch.Generator().manual_seed(5))
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    second.reset_parameters(torch.Generator().manual_seed(6))
    assert not any(map(torch.equal, first.parameters(), second.parameters()))


@pytest.mark.parametrize("prompt_length", [0, -3, 1.5, "ten", None, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda prompt_length: FreePrompt(prompt_length, embed_dim=8, patch_size=2),
        lambda prompt_length: BilinearPrompt(prompt_length, rank=4, embed_dim=8),
        lambda prompt_length: WhitenedPrompt(prompt_length, embed_dim=8, train_basis=False),
    ],
)
def test_a_prompt_length_below_one_is_refused(make, prompt_length):
    with pytest.raises(InputError, match=f"prompt_length .* >= 1.*, got {prompt_length!r}") as e:
        make(prompt_length)
    assert e.value.parameter == "prompt_length"
    assert "prompt=None" in str(e.value)  # the way to have none


@pytest.mark.parametrize("rank", [-1, 0, 9, 2.5, None])
def test_an_out_of_range_rank_is_refused_with_both_numbers(rank):
    with pytest.raises(InputError, match=rf"^rank must be in \[1, embed_dim=8\], got {rank}\.$"):
        BilinearPrompt(prompt_length=7, rank=rank, embed_dim=8)


def test_a_patch_size_below_one_is_refused():
    with pytest.raises(InputError, match=r"^patch_size .* >= 1, got 0\.$"):
        FreePrompt(prompt_length=7, embed_dim=8, patch_size=0)
