"""Token statistics of a frozen ViT: collected over images, stored, and tied to that ViT.

Shape legend: B batch, I images, N patch tokens of an image, D embed_dim.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.prompts import BlockStatistics, SecondMoment, query_key_product
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError

from .embedding import embed_images
from .identity import fingerprint

FIELDS = ("second_moment", "tokens")
# What is raised on files that are cut, or whose description is not of this module.
_SIGNS_OF_DAMAGE = (
    *(OSError, safetensors.SafetensorError),
    *(AttributeError, TypeError, KeyError, ValueError),
)


class MissingStatisticsError(InputError):
    """Prompts need statistics that have not been collected; the text lacks the command to do so."""


@dataclass(frozen=True)
class TokenStatistics:
    """Statistics by block index, and what they were collected on.

    Attributes:
        blocks: what is known of each block.
        fingerprint: of the ViT, see `fingerprint`.
        num_images: number of images.
        preprocessing: how they were brought to the ViT's input, for the record.
        source: where they are from, for messages; not stored.
    """

    blocks: Mapping[int, BlockStatistics]
    fingerprint: str
    num_images: int
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    source: str = "in memory"


@torch.no_grad()
def collect_statistics(
    vit: VisionTransformer,
    batches: Iterable[Tensor],
    needed: Mapping[int, str],
    *,
    num_token_images: int = 20,
    preprocessing: Mapping[str, object] | None = None,
) -> TokenStatistics:
    """Run images through a frozen ViT without prompts once, up to the last block that is needed.

    Tokens of all images are seen, class token included, but only those of the first images are
    kept, and only where they are needed; a second moment takes O(D²) memory a block.

    Args:
        vit: in evaluation mode.
        batches: normalized images, (B, 3, H, W), all of one size.
        needed: which of `FIELDS` each block index needs.
        num_token_images: images whose patch tokens are kept.
        preprocessing: stored beside the statistics.

    Raises:
        InputError: there are no images.
    """
    collectors = {index: _Collector(vit, what, num_token_images) for index, what in needed.items()}
    num_images = 0
    for images in batches:
        num_images += images.shape[0]
        tokens = embed_images(vit, images)
        for index, block in enumerate(vit.blocks[: max(needed) + 1]):
            if index in collectors:
                collectors[index].update(tokens, block)
            if index < max(needed):
                tokens = block(tokens)
    if not num_images:
        raise InputError("there are no images to collect statistics of.")
    return TokenStatistics(
        {i: collector.compute(vit.blocks[i]) for i, collector in collectors.items()},
        fingerprint(vit),
        num_images,
        preprocessing or {},
    )


class _Collector:
    """Sees the tokens that enter one block."""

    def __init__(self, vit: VisionTransformer, what: str, num_token_images: int) -> None:
        assert what in FIELDS, what
        self.num_prefix_tokens = vit.num_prefix_tokens
        self.patch_size = vit.patch_embed.patch_size[0]
        device = vit.pos_embed.device
        self.moment = SecondMoment(vit.embed_dim, device) if what == "second_moment" else None
        self.num_missing_images = num_token_images if what == "tokens" else 0
        self.kept: list[Tensor] = []
        self.sum_of_squares = 0.0
        self.num_values = 0

    def update(self, tokens: Tensor, block: torch.nn.Module) -> None:
        self.sum_of_squares += tokens.double().square().sum().item()
        self.num_values += tokens.numel()
        if self.moment is not None:
            self.moment.update(block.norm1(tokens))
        if self.num_missing_images:
            patches = tokens[: self.num_missing_images, self.num_prefix_tokens :]
            self.kept.append(patches.float().cpu())
            self.num_missing_images -= len(patches)

    def compute(self, block: torch.nn.Module) -> BlockStatistics:
        moment = self.moment
        return BlockStatistics(
            second_moment=None
            if moment is None
            else moment.compute(query_key_product(block.attn.qkv.weight)).cpu(),
            num_tokens=0 if moment is None else moment.num_tokens,
            tokens=torch.cat(self.kept) if self.kept else None,
            token_rms=math.sqrt(self.sum_of_squares / self.num_values),
            patch_size=self.patch_size,
        )


def save_statistics(statistics: TokenStatistics, path: str | Path) -> None:
    """Write a safetensors file; one that exists is replaced only once the new one is complete."""
    tensors = {
        f"{name}.{index}": value
        for index, block in statistics.blocks.items()
        for name in FIELDS
        if (value := getattr(block, name)) is not None
    }
    about = {
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
        partial.write_bytes(save(tensors, metadata={"token_statistics": json.dumps(about)}))


def load_statistics(path: str | Path) -> TokenStatistics:
    """Read what `save_statistics` has written.

    Raises:
        MissingStatisticsError: there is no such file.
        InputError: it is no such file, or damaged.
    """
    if not Path(path).is_file():
        raise MissingStatisticsError(f"token statistics '{path}' do not exist")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["token_statistics"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        blocks = {
            int(index): BlockStatistics(
                **{name: tensors.get(f"{name}.{index}") for name in FIELDS}, **numbers
            )
            for index, numbers in about.pop("blocks").items()
        }
        return TokenStatistics(blocks=blocks, source=str(path), **about)
    except _SIGNS_OF_DAMAGE as error:
        raise InputError(
            f"'{path}' is damaged or holds no token statistics ({type(error).__name__}: {error}); "
            "collect it again with tools/collect_statistics.py."
        ) from error


def check_statistics(
    statistics: TokenStatistics | None, vit: VisionTransformer, needed: Mapping[int, str]
) -> TokenStatistics:
    """Return statistics after checking that they are a ViT's and hold what its prompts need.

    Args:
        statistics: None: there are none.
        vit: the frozen network.
        needed: which of `FIELDS` each block index needs.

    Raises:
        MissingStatisticsError: there are none, they are another ViT's, or they lack a block.
    """
    if statistics is None:
        raise MissingStatisticsError("the prompts need token statistics, but none are given")
    here = fingerprint(vit)
    if statistics.fingerprint != here:
        raise MissingStatisticsError(
            f"token statistics '{statistics.source}' are of another frozen ViT (fingerprint "
            f"{statistics.fingerprint[:12]} there, {here[:12]} here)"
        )
    lacking = [
        f"{what} of block {index}"
        for index, what in needed.items()
        if getattr(statistics.blocks.get(index), what, None) is None
    ]
    if lacking:
        raise MissingStatisticsError(
            f"token statistics '{statistics.source}' lack {', '.join(lacking)}"
        )
    return statistics
