import logging
import math

import pytest
import torch

from bpt_det.prompts import BlockStatistics, SecondMoment, Whitening, query_key_product
from bpt_det.utils.errors import InputError

WIDTH = 6


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def statistics_of(second_moment, num_tokens=1000, token_rms=1.0):
    return BlockStatistics(second_moment, num_tokens, None, token_rms, patch_size=4)


def moment_with(eigenvalues, seed=0):
    """A second moment with the given eigenvalues in random directions."""
    directions, _ = torch.linalg.qr(random(len(eigenvalues), len(eigenvalues), seed=seed))
    return directions @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ directions.T


PUBLISHED = Whitening(eps=0.0, floor="clamp", scale="none")


def test_the_product_is_of_query_and_key_projections_as_row_vectors_use_them():
    """q = x Wq and k = y Wk of a linear layer, so q · k = x M yᵀ."""
    layer = torch.nn.Linear(WIDTH, 3 * WIDTH, bias=False).double()
    product = query_key_product(layer.weight)
    x, y = random(2, WIDTH)
    query, key = layer(x)[:WIDTH], layer(y)[WIDTH : 2 * WIDTH]
    torch.testing.assert_close(x @ product @ y, query @ key)
    assert product.dtype == torch.float64


def test_query_and_key_are_different_weights():
    """The published shallow code loads the query weights twice; the result would be symmetric."""
    weight = random(3 * WIDTH, WIDTH)
    product = query_key_product(weight)
    twice_the_query = weight[:WIDTH].T @ weight[:WIDTH]
    assert not torch.allclose(product, twice_the_query)
    assert not torch.allclose(product, product.T)


def test_the_second_moment_equals_a_loop_over_all_tokens():
    tokens, product = random(3, 7, WIDTH), random(WIDTH, WIDTH, seed=1)
    moment = SecondMoment(WIDTH)
    moment.update(tokens)
    expected = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    for image in tokens:
        for token in image:
            column = product @ token
            for i in range(WIDTH):
                for j in range(WIDTH):
                    expected[i, j] += column[i] * column[j] / 21
    torch.testing.assert_close(moment.compute(product), expected)
    assert moment.num_tokens == 21


def test_one_batch_of_100_and_four_of_25_give_the_same():
    tokens = random(100, 5, WIDTH).float()  # accumulated in float64 all the same
    at_once, streamed = SecondMoment(WIDTH), SecondMoment(WIDTH)
    at_once.update(tokens)
    for part in tokens.split(25):
        streamed.update(part)
    torch.testing.assert_close(at_once.compute(), streamed.compute(), rtol=1e-13, atol=1e-13)
    assert at_once.compute().dtype == torch.float64


def test_no_tokens_have_no_second_moment():
    with pytest.raises(InputError, match="no tokens were seen"):
        SecondMoment(WIDTH).compute()


@pytest.mark.parametrize("floor", ["drop", "clamp"])
def test_whitened_tokens_have_the_identity_as_second_moment(floor):
    product = random(WIDTH, WIDTH, seed=1)
    transformed = random(500, WIDTH) @ random(WIDTH, WIDTH, seed=2) @ product.T  # rows of (M Xᵀ)ᵀ
    moment = SecondMoment(WIDTH)
    moment.update(transformed)
    matrix = Whitening(eps=1e-12, floor=floor, scale="none").matrix(
        statistics_of(moment.compute(), moment.num_tokens)
    )
    whitened = transformed @ matrix.T
    identity = torch.eye(WIDTH, dtype=torch.float64)
    torch.testing.assert_close(whitened.T @ whitened / 500, identity, rtol=0, atol=1e-6)


def test_the_whitening_is_the_symmetric_one():
    matrix = PUBLISHED.matrix(statistics_of(moment_with([1.0, 2, 3, 4, 5, 6])))
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


SPECTRUM = [1e-9, 1e-5, 0.25, 1.0, 4.0, 100.0]  # at eps 1e-4 the floor is 0.01


def test_drop_whitens_the_supported_subspace_and_nothing_else():
    matrix = Whitening(eps=1e-4, floor="drop", scale="none").matrix(
        statistics_of(moment_with(SPECTRUM))
    )
    expected = torch.tensor([0, 0, 0.1, 0.5, 1, 2], dtype=torch.float64)
    torch.testing.assert_close(torch.linalg.eigvalsh(matrix), expected, rtol=1e-9, atol=1e-9)


def test_clamp_raises_small_eigenvalues_to_the_floor():
    matrix = Whitening(eps=1e-4, floor="clamp", scale="none").matrix(
        statistics_of(moment_with(SPECTRUM))
    )
    expected = torch.tensor([0.1, 0.5, 1, 2, 10, 10], dtype=torch.float64)
    torch.testing.assert_close(torch.linalg.eigvalsh(matrix), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("floor", ["drop", "clamp"])
@pytest.mark.parametrize(
    ("scale", "rms"), [("tokens", 0.7), ("vpt", math.sqrt(6 / (3 * 16 + WIDTH)) / math.sqrt(3))]
)
def test_a_scale_gives_initial_prompts_the_named_root_mean_square(floor, scale, rms):
    whitening = Whitening(eps=1e-4, floor=floor, scale=scale)
    matrix = whitening.matrix(statistics_of(moment_with(SPECTRUM), token_rms=0.7))
    prompts = 0.02 * random(200_000, WIDTH) @ matrix.T
    assert prompts.square().mean().sqrt().item() == pytest.approx(rms, rel=0.01)


def test_a_scale_does_not_change_the_shape_of_the_matrix():
    statistics = statistics_of(moment_with(SPECTRUM))
    plain = Whitening(eps=1e-4, scale="none").matrix(statistics)
    scaled = Whitening(eps=1e-4, scale="tokens").matrix(statistics)
    torch.testing.assert_close(scaled / scaled.norm(), plain / plain.norm())


def test_fewer_tokens_than_dimensions_are_warned_about_with_rank_and_condition(caplog):
    tokens = random(4, WIDTH)
    moment = SecondMoment(WIDTH)
    moment.update(tokens)
    caplog.set_level(logging.INFO, "bpt_det")
    Whitening(eps=1e-6).matrix(statistics_of(moment.compute(), moment.num_tokens))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert "4 tokens of width 6: rank 4 above eps=1e-06" in text
    assert "collect statistics of more images" in text
    assert float(text.partition("condition number ")[2].partition(";")[0]) > 1e12


@pytest.mark.parametrize(("eps", "rank"), [(1e-6, 6), (0.3, 4)])
def test_enough_tokens_are_reported_without_a_warning(caplog, eps, rank):
    caplog.set_level(logging.INFO, "bpt_det")
    Whitening(eps=eps).matrix(statistics_of(moment_with([1.0, 2, 3, 4, 5, 8])))
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    text = record.getMessage()
    assert f"1000 tokens of width 6: rank {rank} above eps={eps:g}" in text
    assert text.endswith("condition number 8")


def test_an_infinite_whitening_is_refused():
    singular = torch.diag(torch.tensor([0.0, 1, 2], dtype=torch.float64))
    with pytest.raises(InputError, match="infinite: .* rank 2 of 3 and eps=0; .* raise eps"):
        PUBLISHED.matrix(statistics_of(singular))


def test_dropping_keeps_a_whitening_finite_without_a_floor():
    singular = torch.diag(torch.tensor([0.0, 1, 4], dtype=torch.float64))
    matrix = Whitening(eps=0, floor="drop", scale="none").matrix(statistics_of(singular))
    expected = torch.diag(torch.tensor([0, 1, 0.5], dtype=torch.float64))
    torch.testing.assert_close(matrix, expected)


@pytest.mark.parametrize("floor", ["drop", "clamp"])
def test_tokens_that_are_all_zero_cannot_be_whitened(floor):
    zero = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    with pytest.raises(InputError, match="^the whitening matrix is infinite: .* rank 0 of 6"):
        Whitening(floor=floor).matrix(statistics_of(zero))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("eps", -0.1, "[0, 1)"),
        ("eps", 1.0, "[0, 1)"),
        ("eps", None, "[0, 1)"),
        ("floor", "cut", "drop, clamp"),
        ("scale", "big", "vpt, tokens, none"),
    ],
)
def test_a_setting_out_of_range_is_refused(name, value, allowed):
    with pytest.raises(InputError) as refused:
        Whitening(**{name: value})
    text = str(refused.value)
    assert text.startswith(f"{name} ") and allowed in text and str(value) in text
    assert refused.value.parameter == name


def test_the_published_arithmetic_equals_its_lines_written_out():
    """WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_deep.py:48-60, W and columns drawn row by row."""
    qkx = random(WIDTH, 4 * WIDTH).float()
    sigma = qkx @ qkx.transpose(1, 0) * (1 / qkx.size(0))
    u, s, v = torch.svd(sigma)
    w = u @ torch.diag(s ** (-0.5)) @ v.transpose(1, 0)
    noise = torch.rand(WIDTH, WIDTH, generator=seeded(7))
    ids_keep = torch.argsort(noise, dim=1)[:, :2]
    expected = torch.gather(w, dim=1, index=ids_keep)

    statistics = BlockStatistics(
        None, 0, None, token_rms=1.0, patch_size=4, published_interaction=qkx.double()
    )
    whitening = Whitening(arithmetic="published")
    torch.testing.assert_close(whitening.matrix(statistics).float(), w, rtol=1e-4, atol=1e-4)
    columns = whitening.columns(statistics, 2, seeded(7)).float()
    torch.testing.assert_close(columns, expected, rtol=1e-4, atol=1e-4)


def test_the_default_draws_whole_columns():
    statistics = statistics_of(moment_with(SPECTRUM))
    matrix = Whitening().matrix(statistics)
    columns = Whitening().columns(statistics, 3, seeded(1)).T
    assert all((matrix.T == column).all(dim=1).any() for column in columns)
