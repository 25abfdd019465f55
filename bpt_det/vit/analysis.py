"""Analysis of a ViT's tokens: their burstiness before and after whitening, and their mean.

M = Wq Wkᵀ is a block's query-key product and X its tokens after the first norm. Shape legend:
B batch, N tokens, D embed_dim.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bpt_det.prompts import Whitening, query_key_product
from bpt_det.utils.errors import InputError

from .attention import attention_input, qkv_weight
from .embedding import block_inputs
from .network import adapt
from .statistics import collect_statistics


@dataclass(frozen=True)
class Entries:
    """Entries of a matrix.

    Attributes:
        kurtosis: excess kurtosis of all of them: 0 for a Gaussian, 3 for a Laplace distribution.
        sample: random entries, float32: all, where they are few enough.
    """

    kurtosis: float
    sample: np.ndarray


@dataclass(frozen=True)
class Burstiness:
    """Entries of some matrices of a block.

    Attributes:
        product: of M.
        tokens: of X.
        interaction: of X̃ = M Xᵀ.
        whitened_product: of W M.
        whitened: of W X̃.
        rank: eigenvalues of the second moment of X̃ above the floor of the whitening.
        condition_number: of that second moment.
    """

    product: Entries
    tokens: Entries
    interaction: Entries
    whitened_product: Entries
    whitened: Entries
    rank: int
    condition_number: float


class EntryStream:
    """First four moments of a stream of numbers, in float64, and a random sample of them.

    Args:
        generator: draws the sample.
        max_kept: numbers of each update that are kept, drawn with replacement where there are more.
    """

    def __init__(self, generator: torch.Generator, max_kept: int) -> None:
        self._generator = generator
        self._max_kept = max_kept
        self._kept: list[Tensor] = []
        self._count = 0
        self._sums = torch.zeros(4, dtype=torch.float64)

    def update(self, values: Tensor) -> None:
        """Add all entries of a tensor."""
        values = values.detach().double().flatten()
        self._count += values.numel()
        self._sums += torch.stack([values.pow(power).sum() for power in (1, 2, 3, 4)]).cpu()
        if values.numel() > self._max_kept:
            drawn = torch.randint(values.numel(), (self._max_kept,), generator=self._generator)
            values = values[drawn.to(values.device)]
        self._kept.append(values.float().cpu())

    def entries(self) -> Entries:
        """Return the sample and E[(x - μ)⁴] / σ⁴ - 3, which is nan if all numbers are equal."""
        mean, second, third, fourth = (self._sums / self._count).tolist()
        variance = second - mean**2
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        kurtosis = central / variance**2 - 3 if variance > 0 else float("nan")
        return Entries(kurtosis, torch.cat(self._kept).numpy())


def describe_entries(matrix: Tensor, *, max_entries: int = 600_000, seed: int = 0) -> Entries:
    """Return the entries of one matrix of any shape; see `measure_burstiness`."""
    stream = EntryStream(torch.Generator().manual_seed(seed), max_entries)
    stream.update(matrix)
    return stream.entries()


@torch.no_grad()
def measure_burstiness(
    vit: nn.Module,
    batches: Sequence[Tensor],
    whitening: Whitening,
    *,
    max_entries: int = 600_000,
    seed: int = 0,
) -> list[Burstiness]:
    """Return the burstiness in every block of a ViT without prompts.

    Args:
        vit: in evaluation mode.
        batches: normalized images, (B, 3, H, W); run twice, first for the second moments.
        whitening: how W is made; its scale does not matter.
        max_entries: entries of each matrix that are kept as a sample, evenly over the batches. By
            default all of M are, for widths up to 774.
        seed: of the sample.

    Raises:
        InputError: there are no images, or a second moment cannot be whitened.
    """
    network = adapt(vit)
    indexes = range(len(network.blocks))
    statistics = collect_statistics(vit, batches, dict.fromkeys(indexes, "second_moment")).blocks
    products = [query_key_product(qkv_weight(block)) for block in network.blocks]
    matrices = [whitening.matrix(statistics[i]).to(products[i]) for i in indexes]
    names = ("tokens", "interaction", "whitened")
    generator = torch.Generator().manual_seed(seed)
    max_kept = -(-max_entries // len(batches))
    streams = [{name: EntryStream(generator, max_kept) for name in names} for _ in indexes]
    for images in batches:
        for i, stream in zip(indexes, block_inputs(vit, images), strict=False):
            tokens = attention_input(network.blocks[i], stream).flatten(end_dim=1).double()
            interaction = tokens @ products[i].T  # a row is M x
            streams[i]["tokens"].update(tokens)
            streams[i]["interaction"].update(interaction)
            streams[i]["whitened"].update(interaction @ matrices[i].T)
    results = []
    for i in indexes:
        spectrum = whitening.spectrum(statistics[i])
        whitened_product = matrices[i] @ products[i]
        results.append(
            Burstiness(
                product=describe_entries(products[i], max_entries=max_entries, seed=seed),
                whitened_product=describe_entries(
                    whitened_product, max_entries=max_entries, seed=seed
                ),
                **{name: values.entries() for name, values in streams[i].items()},
                rank=spectrum.rank,
                condition_number=spectrum.condition_number,
            )
        )
    return results


@torch.no_grad()
def center_last_tokens(vit: nn.Module, batches: Iterable[Tensor]) -> float:
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
    network = adapt(vit)
    total = torch.zeros(network.embed_dim, dtype=torch.float64)
    count = 0
    for images in batches:
        (tokens,) = deque(block_inputs(vit, images), maxlen=1)  # after the last block
        patches = tokens[:, network.num_prefix_tokens :].double()
        total += patches.sum(dim=(0, 1)).cpu()
        count += patches.shape[0] * patches.shape[1]
    if not count:
        raise InputError("tokens cannot be centered without images; give at least one.")
    mean = total / count
    bias = network.blocks[-1].get_parameter("mlp.fc2.bias")
    bias.sub_(mean.to(bias))
    return mean.square().mean().sqrt().item()
