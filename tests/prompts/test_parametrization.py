import math

import pytest
import torch
import torch.nn.functional as F
from helpers import count_parameters

from bpt_det.errors import InputError
from bpt_det.prompts import BilinearPrompt, FreePrompt
from bpt_det.vit import ARCHITECTURES, PromptedViT, build_vit

PROMPTS = [
    lambda: FreePrompt(prompt_length=7, embed_dim=10, patch_size=3),
    lambda: BilinearPrompt(prompt_length=7, rank=4, embed_dim=10),
]


def bilinear(prompt_length, rank):
    return lambda: BilinearPrompt(prompt_length, rank, embed_dim=768)


@pytest.mark.parametrize(
    ("prompt", "placement", "count"),
    [
        (lambda: FreePrompt(100, 768, 16), "shallow", 76_800),
        (bilinear(100, 75), "shallow", 65_100),
        (bilinear(100, 25), "shallow", 21_700),
        (bilinear(50, 50), "last_4", 163_600),
        (bilinear(50, 50), "last_12", 490_800),  # the paper's "7.54x shallow"
    ],
)
def test_a_vit_b_trains_the_published_number_of_prompt_parameters(prompt, placement, count):
    with torch.device("meta"):
        model = PromptedViT(build_vit(**ARCHITECTURES["vit_b"]), prompt(), placement)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in trained) == count
    assert count_parameters(model.prompts) == count


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


def test_every_parameter_of_a_prompt_is_trained():
    names = {
        name: [n for n, p in make().named_parameters() if p.requires_grad]
        for name, make in zip(("free", "bilinear"), PROMPTS, strict=True)
    }
    assert names == {"free": ["tokens"], "bilinear": ["coeff", "basis"]}


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
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    second.reset_parameters(torch.Generator().manual_seed(6))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert not torch.equal(one, other)


@pytest.mark.parametrize("prompt_length", [0, -3])
def test_a_prompt_length_below_one_is_refused(prompt_length):
    text = (
        rf"^prompt_length must be at least 1, got {prompt_length}; "
        r"for a frozen ViT without prompts set prompt=None\.$"
    )
    with pytest.raises(InputError, match=text):
        FreePrompt(prompt_length, embed_dim=8, patch_size=2)
    with pytest.raises(InputError, match=text):
        BilinearPrompt(prompt_length, rank=4, embed_dim=8)


@pytest.mark.parametrize("rank", [-1, 0, 9])
def test_an_out_of_range_rank_is_refused_with_both_numbers(rank):
    with pytest.raises(InputError, match=rf"^rank must be in \[1, embed_dim=8\], got {rank}\.$"):
        BilinearPrompt(prompt_length=7, rank=rank, embed_dim=8)


def test_a_patch_size_below_one_is_refused():
    with pytest.raises(InputError, match=r"^patch_size must be at least 1, got 0\.$"):
        FreePrompt(prompt_length=7, embed_dim=8, patch_size=0)
