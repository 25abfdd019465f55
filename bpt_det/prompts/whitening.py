"""Whitening of M Xᵀ, which prompts are multiplied with in attention (arXiv:2506.22908, fWhiten).

M = Wq Wkᵀ is a block's query-key product and X its tokens after the first norm, with heads taken
together and biases left out. Shape legend: N tokens, D embed_dim.
"""

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bpt_det.utils.errors import InputError, check_choice

from .initialization import COEFF_STD, BlockStatistics, uniform_bound

logger = logging.getLogger(__name__)

_ARITHMETICS = ("exact", "published")
_FLOORS = ("drop", "clamp")
_SCALES = ("vpt", "tokens", "none")


def query_key_product(qkv_weight: Tensor) -> Tensor:
    """Return M = Wq Wkᵀ, (D, D), in float64 from the (3D, D) weight of a query-key-value layer.

    A PyTorch layer computes ``x @ weight.T``, so Wq is ``weight[:D].T`` and Wk ``weight[D:2D].T``.
    """
    query, key, _ = qkv_weight.detach().double().chunk(3)
    return query.T @ key


def published_interaction(qkv_weight: Tensor, mean_tokens: Tensor) -> Tensor:
    """Return what the published code whitens, (D, T): stored q kᵀ times the mean of all images.

    WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_deep.py:38-50. The product of the stored weights is
    Wqᵀ Wk, in another space than M; see docs/reproduction/deviations.md.

    Args:
        qkv_weight: (3D, D).
        mean_tokens: (T, D), tokens after the block's first norm, averaged over images.
    """
    query, key, _ = qkv_weight.detach().double().chunk(3)
    return query @ key.T @ mean_tokens.double().T


class SecondMoment:
    """Streaming second moment of tokens, (1/N) Σ x xᵀ, not centered; memory O(D²), float64.

    Args:
        embed_dim: D.
        device: where it is accumulated.
    """

    def __init__(self, embed_dim: int, device: torch.device | str = "cpu") -> None:
        self.num_tokens = 0
        self._total = torch.zeros(embed_dim, embed_dim, dtype=torch.float64, device=device)

    def update(self, tokens: Tensor) -> None:
        """Add tokens (…, D)."""
        rows = tokens.flatten(end_dim=-2).to(self._total)
        self._total.addmm_(rows.T, rows)
        self.num_tokens += rows.shape[0]

    def compute(self, product: Tensor | None = None) -> Tensor:
        """Return the second moment, (D, D); with M as ``product``, that of M Xᵀ: M (XᵀX / N) Mᵀ.

        Raises:
            InputError: there were no tokens.
        """
        if not self.num_tokens:
            raise InputError("no tokens were seen, so they have no second moment; give images.")
        moment = self._total / self.num_tokens
        if product is not None:
            product = product.to(moment)
            moment = product @ moment @ product.T
        return (moment + moment.T) / 2  # symmetric to the last bit


@dataclass(frozen=True)
class Spectrum:
    """Spectrum of a second moment, with a floor.

    Attributes:
        eigenvalues: (D,), ascending, at least 0.
        eigenvectors: (D, D), one per column.
        eps: floor relative to the largest eigenvalue.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor
    eps: float

    @property
    def floor(self) -> float:
        """Eigenvalues below this have no support in the data, or only rounding error."""
        return self.eps * self.eigenvalues[-1].item()

    @property
    def is_supported(self) -> Tensor:
        """Which eigenvalues are positive and at least the floor, (D,), bool."""
        return (self.eigenvalues >= self.floor) & (self.eigenvalues > 0)

    @property
    def rank(self) -> int:
        """Number of eigenvalues with support."""
        return int(self.is_supported.sum())

    @property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue, at most 1 / (D ε) of float64: beyond is rounding."""
        largest = self.eigenvalues[-1].item()
        smallest = len(self.eigenvalues) * torch.finfo(torch.float64).eps * largest
        return largest / max(self.eigenvalues[0].item(), smallest) if largest > 0 else math.inf


def compute_spectrum(second_moment: Tensor, eps: float) -> Spectrum:
    """Return the spectrum of a symmetric positive semi-definite matrix (D, D), in float64."""
    eigenvalues, eigenvectors = torch.linalg.eigh(second_moment.double())
    return Spectrum(eigenvalues.clamp(min=0), eigenvectors, eps)


@dataclass(frozen=True)
class Whitening:
    """ZCA whitening: W = Σ^(-1/2) = U S^(-1/2) Uᵀ of the second moment Σ = U S Uᵀ of a block.

    The spectrum of Σ spans many orders of magnitude, so S^(-1/2) needs a floor, and W a scale.
    docs/explanation/burstiness.md shows what each choice does. The published code has neither, and
    differs in Σ too; ``published`` repeats it to the letter, for comparison only, as rounding
    errors rule its W.

    Args:
        arithmetic: ``exact``, or ``published``, for which the other arguments are not used.
        eps: floor, relative to the largest eigenvalue. No direction is amplified by more than
            eps^(-1/2) times another: by 100 at 1e-4.
        floor: ``drop`` whitens only the subspace whose eigenvalues are at least the floor and
            maps the rest to 0; ``clamp`` raises smaller eigenvalues to the floor.
        scale: W is multiplied by a number such that prompts P Wᵀ with P ~ N(0, 0.02²) have the
            root mean square of ``vpt``'s initial prompts, so that a learning rate means the same
            for both, or of the ``tokens`` that enter the block; ``none`` leaves W as it is.

    Raises:
        InputError: a value is out of range.
    """

    eps: float = 1e-4
    floor: str = "drop"
    scale: str = "vpt"
    arithmetic: str = "exact"

    @property
    def needed_statistics(self) -> str:
        """Field of `BlockStatistics` that W is made of."""
        return "published_interaction" if self.arithmetic == "published" else "second_moment"

    def __post_init__(self) -> None:
        if not (isinstance(self.eps, int | float) and 0 <= self.eps < 1):
            raise InputError(
                f"eps of the whitening must be in [0, 1), got {self.eps}.", parameter="eps"
            )
        check_choice("floor", self.floor, _FLOORS)
        check_choice("scale", self.scale, _SCALES)
        check_choice("arithmetic", self.arithmetic, _ARITHMETICS)

    def spectrum(self, statistics: BlockStatistics) -> Spectrum:
        """Return the spectrum of Σ, and log its rank above the floor and its condition number.

        It is a warning where there are fewer tokens than dimensions: Σ is then singular.
        """
        assert statistics.second_moment is not None
        spectrum = compute_spectrum(statistics.second_moment, self.eps)
        embed_dim = len(spectrum.eigenvalues)
        logger.log(
            logging.WARNING if statistics.num_tokens < embed_dim else logging.INFO,
            "Whitening over %d tokens of width %d: rank %d above eps=%g of the largest "
            "eigenvalue, condition number %.3g%s",
            statistics.num_tokens,
            embed_dim,
            spectrum.rank,
            spectrum.eps,
            spectrum.condition_number,
            "; collect statistics of more images" if statistics.num_tokens < embed_dim else "",
        )
        return spectrum

    def matrix(self, statistics: BlockStatistics) -> Tensor:
        """Return W, (D, D), symmetric, float64; not symmetric where it is that of the authors.

        Raises:
            InputError: Σ is 0, or W infinite as nothing keeps eigenvalues of 0 out.
        """
        if self.arithmetic == "published":
            return _published_matrix(statistics)
        spectrum = self.spectrum(statistics)
        values = spectrum.eigenvalues.clamp(min=spectrum.floor).rsqrt()
        if self.floor == "drop":
            values = torch.where(spectrum.is_supported, values, 0)
        if not spectrum.rank or not torch.isfinite(values).all():
            raise InputError(
                f"the whitening matrix is infinite: the second moment has rank {spectrum.rank} of "
                f"{len(values)} and eps={self.eps:g}; collect statistics of more images, or raise "
                "eps.",
                parameter="eps",
            )
        vectors = spectrum.eigenvectors
        return vectors @ torch.diag(values * self._factor(values, statistics)) @ vectors.T

    def columns(
        self, statistics: BlockStatistics, count: int, generator: torch.Generator | None
    ) -> Tensor:
        """Return ``count`` columns of W, (D, count), drawn without replacement.

        Whole ones; the published code draws for each row anew.

        Args:
            statistics: of the block.
            count: at most D.
            generator: of the choice.
        """
        matrix = self.matrix(statistics)
        embed_dim = len(matrix)
        if self.arithmetic == "published":
            order = torch.rand(embed_dim, embed_dim, generator=generator).argsort(dim=1)
            return matrix.gather(1, order[:, :count])
        return matrix[:, torch.randperm(embed_dim, generator=generator)[:count]]

    def _factor(self, values: Tensor, statistics: BlockStatistics) -> float:
        """Return the factor that scales W, from its eigenvalues."""
        if self.scale == "none":
            return 1.0
        target_rms = {
            "tokens": statistics.token_rms,
            "vpt": uniform_bound(statistics.patch_size, len(values)) / math.sqrt(3),
        }[self.scale]
        return target_rms / (COEFF_STD * values.square().mean().sqrt().item())


def _published_matrix(statistics: BlockStatistics) -> Tensor:
    """Return the published W, (D, D), with the rounding of its float32."""
    assert statistics.published_interaction is not None
    interaction = statistics.published_interaction.float()
    second_moment = interaction @ interaction.T / len(interaction)
    left, values, right = torch.linalg.svd(second_moment)
    return (left @ torch.diag(values.rsqrt()) @ right).double()
