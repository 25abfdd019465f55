"""Distributions fitted to the entries of a matrix: Laplace and hyper-Laplace.

The density of both is p(x) = a / (2 s Γ(1/a)) exp(-(|x - m| / s)^a). With a = 1 it is a Laplace
distribution, with a = 2 a Gaussian, and with a < 1 a hyper-Laplacian: sharper and heavier-tailed
than Laplace.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from bpt_det.utils.errors import InputError

_EXPONENTS = (0.1, 10.0)  # in which the exponent is searched


@dataclass(frozen=True)
class HyperLaplace:
    """A density of the family of this module.

    Attributes:
        location: m, in the unit of the entries.
        scale: s > 0, in the unit of the entries.
        exponent: a > 0; below 1 the density is hyper-Laplacian.
    """

    location: float
    scale: float
    exponent: float

    def density(self, values: np.ndarray) -> np.ndarray:
        """Return p(x) of each value."""
        a, scale = self.exponent, self.scale
        log_peak = math.log(a / (2 * scale)) - gammaln(1 / a)
        return np.exp(log_peak - (np.abs(values - self.location) / scale) ** a)


def fit_laplace(values: np.ndarray) -> HyperLaplace:
    """Return the Laplace distribution of the greatest likelihood: median and mean deviation.

    Args:
        values: of any shape.

    Raises:
        InputError: all values are equal, or there are none.
    """
    location, deviations = _deviations(values)
    return HyperLaplace(location, float(deviations.mean()), 1.0)


def fit_hyper_laplace(values: np.ndarray) -> HyperLaplace:
    """Return the density of the greatest likelihood around the median, of any exponent.

    The scale that belongs to an exponent is known in closed form: sᵃ = a E|x - m|ᵃ. So the search
    is over the exponent alone, in [0.1, 10].

    Args:
        values: of any shape.

    Raises:
        InputError: all values are equal, or there are none.
    """
    location, deviations = _deviations(values)
    unit = deviations.mean()  # keeps powers in range
    deviations = deviations / unit

    def scale_of(exponent: float) -> float:
        return float(exponent * np.mean(deviations**exponent)) ** (1 / exponent)

    def loss(log_exponent: float) -> float:
        """Return the mean negative log-likelihood."""
        a = math.exp(log_exponent)
        return math.log(2 * scale_of(a) / a) + float(gammaln(1 / a)) + 1 / a

    bounds = tuple(math.log(exponent) for exponent in _EXPONENTS)
    search = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    exponent = math.exp(search.x)
    return HyperLaplace(location, float(scale_of(exponent) * unit), exponent)


def _deviations(values: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the median and the distances from it, in float64."""
    values = np.asarray(values, np.float64).ravel()
    if values.size == 0 or values.min() == values.max():
        raise InputError("fitting a distribution needs at least two different values.")
    location = float(np.median(values))
    return location, np.abs(values - location)
