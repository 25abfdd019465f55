"""How bursty the values are that prompts meet in attention, before and after whitening.

M = Wq Wkᵀ is a block's query-key product and X its tokens after the first norm. Shape legend:
B batch, N tokens, D embed_dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.prompts import Whitening, query_key_product

from .embedding import embed_images
from .statistics import collect_statistics


@dataclass(frozen=True)
class Burstiness:
    """Excess kurtosis of all entries of some matrices of a block: 0 for a Gaussian, 3 for Laplace.

    Attributes:
        product: of M.
        tokens: of X.
        interaction: of X̃ = M Xᵀ.
        whitened: of W X̃.
        rank: eigenvalues of the second moment of X̃ above the floor of the whitening.
        condition_number: of that second moment.
    """

    product: float
    tokens: float
    interaction: float
    whitened: float
    rank: int
    condition_number: float


class Moments:
    """The first four moments of a stream of numbers, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = torch.zeros(4, dtype=torch.float64)

    def update(self, values: Tensor) -> None:
        """Add all entries of a tensor."""
        values = values.detach().double().flatten()
        self._count += values.numel()
        self._sums += torch.stack([values.pow(power).sum() for power in (1, 2, 3, 4)]).cpu()

    def excess_kurtosis(self) -> float:
        """Return E[(x - μ)⁴] / σ⁴ - 3; nan if all are equal."""
        mean, second, third, fourth = (self._sums / self._count).tolist()
        variance = second - mean**2
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        return central / variance**2 - 3 if variance > 0 else float("nan")


@torch.no_grad()
def measure_burstiness(
    vit: VisionTransformer, batches: Sequence[Tensor], whitening: Whitening
) -> list[Burstiness]:
    """Return the burstiness in every block of a ViT without prompts.

    Args:
        vit: in evaluation mode.
        batches: normalized images, (B, 3, H, W); run twice, first for the second moments.
        whitening: how W is made; its scale does not matter.

    Raises:
        InputError: there are no images, or a second moment cannot be whitened.
    """
    indexes = range(len(vit.blocks))
    statistics = collect_statistics(vit, batches, dict.fromkeys(indexes, "second_moment")).blocks
    products = [query_key_product(block.attn.qkv.weight) for block in vit.blocks]
    matrices = [whitening.matrix(statistics[i]).to(products[i]) for i in indexes]
    seen = [{name: Moments() for name in ("tokens", "interaction", "whitened")} for _ in indexes]
    for images in batches:
        stream = embed_images(vit, images)
        for i, block in enumerate(vit.blocks):
            tokens = block.norm1(stream).flatten(end_dim=1).double()
            interaction = tokens @ products[i].T  # a row is M x
            seen[i]["tokens"].update(tokens)
            seen[i]["interaction"].update(interaction)
            seen[i]["whitened"].update(interaction @ matrices[i].T)
            stream = block(stream)
    results = []
    for i in indexes:
        of_product = Moments()
        of_product.update(products[i])
        spectrum = whitening.spectrum(statistics[i])
        results.append(
            Burstiness(
                product=of_product.excess_kurtosis(),
                **{name: moments.excess_kurtosis() for name, moments in seen[i].items()},
                rank=spectrum.rank,
                condition_number=spectrum.condition_number,
            )
        )
    return results
