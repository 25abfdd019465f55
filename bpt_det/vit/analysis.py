"""Analysis of a ViT's tokens: their burstiness before and after whitening, and their mean.

M = Wq Wkᵀ is a block's query-key product and X its tokens after the first norm. Shape legend:
B batch, N tokens, D embed_dim.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.prompts import Whitening, query_key_product
from bpt_det.utils.errors import InputError

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
    """First four moments of a stream of numbers, in float64."""

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
    weights = [block.get_parameter("attn.qkv.weight") for block in vit.blocks]
    products = [query_key_product(weight) for weight in weights]
    matrices = [whitening.matrix(statistics[i]).to(products[i]) for i in indexes]
    names = ("tokens", "interaction", "whitened")
    moments = [{name: Moments() for name in names} for _ in indexes]
    for images in batches:
        stream = embed_images(vit, images)
        for i, block in enumerate(vit.blocks):
            tokens = block.get_submodule("norm1")(stream).flatten(end_dim=1).double()
            interaction = tokens @ products[i].T  # a row is M x
            moments[i]["tokens"].update(tokens)
            moments[i]["interaction"].update(interaction)
            moments[i]["whitened"].update(interaction @ matrices[i].T)
            stream = block(stream)
    results = []
    for i in indexes:
        of_product = Moments()
        of_product.update(products[i])
        kurtosis = {name: values.excess_kurtosis() for name, values in moments[i].items()}
        spectrum = whitening.spectrum(statistics[i])
        results.append(
            Burstiness(
                product=of_product.excess_kurtosis(),
                **kurtosis,
                rank=spectrum.rank,
                condition_number=spectrum.condition_number,
            )
        )
    return results


@torch.no_grad()
def center_last_tokens(vit: VisionTransformer, batches: Iterable[Tensor]) -> float:
    """Subtract the mean patch token of the last block from the last bias of its MLP, in place.

    The mean of a masked autoencoder's last tokens can be several times their differences. The
    norms of a pyramid, which are over the channels of one token, keep the mean, and heads on a
    frozen ViT then learn slowly. Attention and all blocks before are not changed; the input of the
    ViT's final norm is.

    Args:
        vit: the network to change; its last MLP needs a bias.
        batches: normalized images, (B, 3, H, W).

    Returns:
        The root mean square of the mean that was subtracted.

    Raises:
        InputError: there are no images.
    """
    total = torch.zeros(vit.embed_dim, dtype=torch.float64)
    count = 0
    for images in batches:
        tokens = embed_images(vit, images)
        for block in vit.blocks:
            tokens = block(tokens)
        patches = tokens[:, vit.num_prefix_tokens :].double()
        total += patches.sum(dim=(0, 1)).cpu()
        count += patches.shape[0] * patches.shape[1]
    if not count:
        raise InputError("tokens cannot be centered without images; give at least one.")
    mean = total / count
    bias = vit.get_parameter(f"blocks.{len(vit.blocks) - 1}.mlp.fc2.bias")
    bias.sub_(mean.to(bias))
    return mean.square().mean().sqrt().item()
