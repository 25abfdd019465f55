"""Token statistics of a frozen ViT: collecting, saving, loading, and checking them.

Shape legend: B batch, I images, N patch tokens of an image, D embed_dim.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from bpt_det.prompts import BlockStatistics, SecondMoment, query_key_product
from bpt_det.prompts.whitening import published_interaction
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError, one_line

from .attention import attention_input, qkv_weight
from .embedding import block_inputs
from .identity import fingerprint
from .network import ColumnarViT, adapt
from .weights.files import SIGNS_OF_DAMAGE, check_file, check_safetensors, check_weights

FIELDS = ("second_moment", "tokens", "published_interaction")
_TENSORS = (*FIELDS, "patch_embeddings")
_HINT = "collect_statistics"


@dataclass(frozen=True)
class TokenStatistics:
    """Statistics by block index, with the ViT and the images that they were collected on.

    Attributes:
        blocks: statistics of each block.
        fingerprint: of the ViT, see `fingerprint`.
        num_images: number of images.
        preprocessing: of the images, for the record.
        source: the file that they were read from, for messages; not stored.
    """

    blocks: Mapping[int, BlockStatistics]
    fingerprint: str
    num_images: int
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    source: str = "in memory"


@torch.no_grad()
def collect_statistics(
    vit: nn.Module,
    batches: Iterable[Tensor],
    needed: Mapping[int, str],
    *,
    num_token_images: int = 20,
    preprocessing: Mapping[str, object] | None = None,
) -> TokenStatistics:
    """Return token statistics of images: one pass through a ViT, up to the last block needed.

    All tokens enter the statistics, class token included, but only those of the first images are
    kept, and only where they are needed; a second moment takes O(D²) memory per block.

    Args:
        vit: without prompts, in evaluation mode.
        batches: normalized images, (B, 3, H, W), all of one size.
        needed: one of `FIELDS` by block index.
        num_token_images: images whose patch tokens are kept.
        preprocessing: of the images, stored beside the statistics.

    Raises:
        InputError: there are no images.
    """
    network = adapt(vit)
    collectors = {i: _Collector(network, name, num_token_images) for i, name in needed.items()}
    num_images = 0
    for images in batches:
        num_images += images.shape[0]
        patch_embed: Any = getattr(vit, "patch_embed", None)  # timm's; another network may lack it
        if patch_embed is not None and 0 in collectors and collectors[0].num_missing_images:
            collectors[0].keep_embeddings(patch_embed(images).flatten(1, 2))
        for index, tokens in zip(range(max(needed) + 1), block_inputs(vit, images), strict=False):
            if index in collectors:
                collectors[index].update(tokens, network.blocks[index])
    if not num_images:
        raise InputError("there are no images to collect statistics from.")
    return TokenStatistics(
        {i: collector.compute(network.blocks[i]) for i, collector in collectors.items()},
        fingerprint(vit),
        num_images,
        preprocessing or {},
    )


class _Collector:
    """Accumulates statistics of the tokens that enter one block."""

    def __init__(self, vit: ColumnarViT, name: str, num_token_images: int) -> None:
        assert name in FIELDS, name
        self.num_prefix_tokens = vit.num_prefix_tokens
        self.patch_size = vit.patch_size
        device = next(vit.blocks[0].parameters()).device
        self.moment = SecondMoment(vit.embed_dim, device) if name == "second_moment" else None
        self.token_sum: Tensor | None = None  # (T, D), over images
        self.sums_tokens = name == "published_interaction"
        self.num_images = 0
        self.num_missing_images = num_token_images if name == "tokens" else 0
        self.kept: list[Tensor] = []
        self.kept_embeddings: list[Tensor] = []
        self.sum_of_squares = 0.0
        self.num_values = 0

    def keep_embeddings(self, embeddings: Tensor) -> None:
        """Keep patch embeddings (B, N, D) of the images whose tokens `update` is about to keep."""
        self.kept_embeddings.append(embeddings[: self.num_missing_images].float().cpu())

    def update(self, tokens: Tensor, block: torch.nn.Module) -> None:
        self.sum_of_squares += tokens.double().square().sum().item()
        self.num_values += tokens.numel()
        if self.moment is not None:
            self.moment.update(attention_input(block, tokens))
        if self.sums_tokens:
            total = attention_input(block, tokens).double().sum(dim=0)
            self.token_sum = total if self.token_sum is None else self.token_sum + total
            self.num_images += len(tokens)
        if self.num_missing_images:
            patches = tokens[: self.num_missing_images, self.num_prefix_tokens :]
            self.kept.append(patches.float().cpu())
            self.num_missing_images -= len(patches)

    def compute(self, block: torch.nn.Module) -> BlockStatistics:
        second_moment, interaction, num_tokens = None, None, 0
        if self.token_sum is not None:
            mean = self.token_sum / self.num_images
            interaction = published_interaction(qkv_weight(block), mean).cpu()
        if self.moment is not None:
            product = query_key_product(qkv_weight(block))
            second_moment, num_tokens = self.moment.compute(product).cpu(), self.moment.num_tokens
        return BlockStatistics(
            second_moment=second_moment,
            num_tokens=num_tokens,
            tokens=torch.cat(self.kept) if self.kept else None,
            token_rms=math.sqrt(self.sum_of_squares / self.num_values),
            patch_size=self.patch_size,
            patch_embeddings=torch.cat(self.kept_embeddings) if self.kept_embeddings else None,
            published_interaction=interaction,
        )


def save_statistics(statistics: TokenStatistics, path: str | Path) -> None:
    """Write statistics to a safetensors file, atomically."""
    tensors = {
        f"{name}.{index}": value
        for index, block in statistics.blocks.items()
        for name in _TENSORS
        if (value := getattr(block, name)) is not None
    }
    description = {
        "fingerprint": statistics.fingerprint,
        "num_images": statistics.num_images,
        "preprocessing": dict(statistics.preprocessing),
        "blocks": {
            index: {
                "num_tokens": block.num_tokens,
                "token_rms": block.token_rms,
                "patch_size": block.patch_size,
            }
            for index, block in statistics.blocks.items()
        },
    }
    with atomic_write(path) as partial:
        partial.write_bytes(save(tensors, metadata={"token_statistics": json.dumps(description)}))


def load_statistics(path: str | Path) -> TokenStatistics:
    """Return statistics from a file of `save_statistics`.

    Raises:
        InputError: the file does not exist, is damaged, or is another one.
    """
    check_file(Path(path), f"token statistics '{path}'", hint=_HINT)
    try:
        check_safetensors(Path(path))
        with safetensors.safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["token_statistics"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        check_weights(tensors, str(path))
        blocks = {
            int(index): BlockStatistics(
                second_moment=tensors.get(f"second_moment.{index}"),
                tokens=tensors.get(f"tokens.{index}"),
                patch_embeddings=tensors.get(f"patch_embeddings.{index}"),
                published_interaction=tensors.get(f"published_interaction.{index}"),
                **numbers,
            )
            for index, numbers in description.pop("blocks").items()
        }
        return TokenStatistics(blocks=blocks, source=str(path), **description)
    except InputError:
        raise
    except SIGNS_OF_DAMAGE as error:
        raise InputError(
            f"'{path}' is damaged or holds no token statistics ({type(error).__name__}: "
            f"{one_line(error)[:200]}).",
            hint=_HINT,
        ) from error


def check_statistics(
    statistics: TokenStatistics | None, vit: nn.Module, needed: Mapping[int, str]
) -> TokenStatistics:
    """Check that statistics are of this ViT and hold all that its prompts need; return them.

    Args:
        statistics: to check; None: there are none.
        vit: the frozen network.
        needed: one of `FIELDS` by block index.

    Raises:
        InputError: there are none, they are another ViT's, or they lack a block.
    """
    if statistics is None:
        raise InputError("the prompts need token statistics, but none are given.", hint=_HINT)
    expected = fingerprint(vit)
    if statistics.fingerprint != expected:
        raise InputError(
            f"token statistics '{statistics.source}' are of another frozen ViT (fingerprint "
            f"{statistics.fingerprint[:12]} there, {expected[:12]} here).",
            hint=_HINT,
        )
    lacking = [
        f"{name} of block {index}"
        for index, name in needed.items()
        if getattr(statistics.blocks.get(index), name, None) is None
    ]
    if lacking:
        raise InputError(
            f"token statistics '{statistics.source}' lack {', '.join(lacking)}.", hint=_HINT
        )
    return statistics
