"""Fits recover the parameters of synthetic samples and agree with SciPy's densities."""

import numpy as np
import pytest
import scipy.stats

from bpt_det.utils.errors import InputError
from bpt_det.vit.distribution_fits import HyperLaplace, fit_hyper_laplace, fit_laplace

LOCATION, SCALE = 0.03, 2e-4


def draw(exponent, size=200_000):
    family = scipy.stats.gennorm(exponent, loc=LOCATION, scale=SCALE)
    return family.rvs(size, random_state=np.random.default_rng(0))


@pytest.mark.parametrize("exponent", [0.5, 0.8, 1.0, 2.0, 4.0])
def test_the_parameters_of_a_sample_are_recovered(exponent):
    fit = fit_hyper_laplace(draw(exponent))
    assert fit.exponent == pytest.approx(exponent, rel=0.02)
    assert fit.scale == pytest.approx(SCALE, rel=0.04)
    assert fit.location == pytest.approx(LOCATION, abs=0.02 * SCALE)


def test_the_scale_of_a_laplace_sample_is_recovered_and_its_exponent_is_1():
    fit = fit_laplace(draw(1.0))
    assert fit.scale == pytest.approx(SCALE, rel=0.01)
    assert fit.exponent == 1


def test_no_exponent_nearby_is_likelier():
    values = draw(0.7, 5000)
    fit = fit_hyper_laplace(values)

    def loss(exponent, scale):
        return scipy.stats.gennorm.nnlf((exponent, fit.location, scale), values)

    best = loss(fit.exponent, fit.scale)
    for factor in (0.97, 1.03):
        assert loss(fit.exponent * factor, fit.scale) > best
        assert loss(fit.exponent, fit.scale * factor) > best


@pytest.mark.parametrize("exponent", [0.6, 1.0, 2.0])
def test_the_density_is_that_of_scipy(exponent):
    x = np.linspace(-3, 5, 41)
    expected = scipy.stats.gennorm(exponent, loc=0.5, scale=1.5).pdf(x)
    np.testing.assert_allclose(HyperLaplace(0.5, 1.5, exponent).density(x), expected, rtol=1e-10)


@pytest.mark.parametrize("values", [np.zeros(5), np.ones((2, 3)), np.empty(0)])
def test_equal_values_have_no_fit(values):
    for fit in (fit_laplace, fit_hyper_laplace):
        with pytest.raises(InputError, match="two different values"):
            fit(values)
