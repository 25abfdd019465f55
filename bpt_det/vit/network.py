"""What `PromptedViT` needs of a network, and one adapter for each family of timm's that has it.

Shape legend: B batch, H W image size in pixels, T prefix tokens, P prompts, N patches, h w patch
grid, D embed_dim, E entries of a rotary position.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from timm.layers import Format, PatchEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bpt_det.utils.errors import InputError


@runtime_checkable
class ColumnarViT(Protocol):
    """A column of blocks over the tokens [prefix; prompts; patches], all of one width.

    A module with these attributes and methods can be prompted. timm's `VisionTransformer` and `Eva`
    have adapters here (`adapt`); another network brings its own, or has the methods itself.

    Attributes:
        embed_dim: D, width of a token.
        patch_size: side of a patch in pixels.
        num_prefix_tokens: T, tokens before the patches, such as a class token and registers.
        blocks: in order; `PromptedViT` groups parameters by them.
        norm: the network's final norm; an identity where it has none.
    """

    embed_dim: int
    patch_size: int
    num_prefix_tokens: int
    blocks: Sequence[nn.Module]
    norm: nn.Module

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens that enter the first block, (B, T + N, D), of images (B, 3, H, W)."""

    def positions(self, grid: tuple[int, int]) -> Any:
        """Return what `run_block` needs to know of a patch grid (h, w); None: nothing."""

    def run_block(self, index: int, tokens: Tensor, positions: Any, num_prompts: int) -> Tensor:
        """Return tokens (B, T + P + N, D) after a block.

        It must not change the network: several models may share it, and activation checkpointing
        calls it again during the backward pass.

        Args:
            index: of the block, from 0.
            tokens: (B, T + P + N, D) that enter it.
            positions: of `positions`, for the grid of these patches.
            num_prompts: P, tokens between prefix and patches; they have no position.
        """


class TimmViT:
    """Adapter of timm's `VisionTransformer`: positions are part of the embedded tokens."""

    def __init__(self, vit: Any) -> None:
        self.vit = vit
        self.embed_dim: int = vit.embed_dim
        self.patch_size: int = vit.patch_embed.patch_size[0]
        self.num_prefix_tokens: int = vit.num_prefix_tokens
        self.blocks: Sequence[nn.Module] = vit.blocks
        self.norm: nn.Module = vit.norm

    def embed(self, images: Tensor) -> Tensor:
        """Return patch embedding, prefix and absolute positions, as timm's `forward_features`."""
        tokens = self.vit._pos_embed(embed_patches(self.vit.patch_embed, images))
        return self.vit.norm_pre(self.vit.patch_drop(tokens))

    def positions(self, grid: tuple[int, int]) -> Any:
        """Return None: blocks need no positions."""
        return None

    def run_block(self, index: int, tokens: Tensor, positions: Any, num_prompts: int) -> Tensor:
        """Return the tokens after a block, which treats all of them alike."""
        return self.blocks[index](tokens)


class TimmEva(TimmViT):
    """Adapter of timm's `Eva`: DINOv3, EVA-02, Perception Encoder, `vit_*_rope_*`.

    Its attention rotates queries and keys of the patches by their positions, and leaves those of
    the prefix as they are. Prompts are left as they are too: they are rotated by an angle of 0.
    """

    def embed(self, images: Tensor) -> Tensor:
        """Return patch embedding, prefix and absolute positions, as timm's `forward_features`."""
        patches = embed_patches(self.vit.patch_embed, images)
        tokens, _ = type(self.vit)._pos_embed(_WithoutRope(self.vit), patches)
        return self.vit.norm_pre(tokens)

    def positions(self, grid: tuple[int, int]) -> "RotaryPositions | None":
        """Return the rotary positions of a patch grid; None: the network has none."""
        if self.vit.rope is None:
            return None
        return RotaryPositions(self.vit.rope.get_embed(shape=list(grid)), self.vit.rope_mixed)

    def run_block(
        self, index: int, tokens: Tensor, positions: "RotaryPositions | None", num_prompts: int
    ) -> Tensor:
        """Return the tokens after a block."""
        rope = None if positions is None else positions.of_block(index, num_prompts)
        return self.blocks[index](tokens, rope=rope)


class _WithoutRope:
    """An `Eva` for timm's embedding, which would compute rotary positions that nobody takes."""

    rope = None

    def __init__(self, vit: Any) -> None:
        self._vit = vit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vit, name)


class RotaryPositions:
    """Rotary positions of a patch grid, and of prompts before it, which are not rotated.

    Args:
        embed: sines, then cosines, (N, E), or (blocks, heads, N, E) of each block.
        is_per_block: whether each block has its own, as in mixed rotary positions
            (arXiv:2403.13298).
    """

    def __init__(self, embed: Tensor, is_per_block: bool) -> None:
        self._embed = embed
        self._is_per_block = is_per_block
        self._prompted: tuple[int, Tensor] = (0, embed)  # the last, for blocks that share it

    def of_block(self, index: int, num_prompts: int) -> Tensor:
        """Return the positions of prompts and patches, (..., P + N, E), in a block."""
        if self._is_per_block:
            return _with_prompts(self._embed[index], num_prompts)
        if self._prompted[0] != num_prompts:
            self._prompted = num_prompts, _with_prompts(self._embed, num_prompts)
        return self._prompted[1]


def _with_prompts(embed: Tensor, num_prompts: int) -> Tensor:
    """Return positions with those of prompts before them: sine 0 and cosine 1."""
    if not num_prompts:
        return embed
    size = (*embed.shape[:-2], num_prompts, embed.shape[-1] // 2)
    unrotated = torch.cat([embed.new_zeros(size), embed.new_ones(size)], dim=-1)
    return torch.cat([unrotated, embed], dim=-2)


# The adapter of each class of timm's; a subclass has that of its base.
FAMILIES: dict[type[nn.Module], type[TimmViT]] = {VisionTransformer: TimmViT, Eva: TimmEva}


def adapt(vit: nn.Module) -> ColumnarViT:
    """Return a network as `PromptedViT` needs it: itself, or an adapter that holds no state.

    Raises:
        InputError: it is of no known family and lacks a part of `ColumnarViT`, or timm built it for
            one image size.
    """
    for family, adapter in FAMILIES.items():
        if isinstance(vit, family):
            if not vit.dynamic_img_size:
                raise InputError(
                    f"this {family.__name__} takes images of one size; build it with "
                    "dynamic_img_size=True.",
                    parameter="vit",
                )
            return adapter(vit)
    if isinstance(vit, ColumnarViT):
        return vit
    lacking = [name for name in _MEMBERS if not hasattr(vit, name)]
    known = " or ".join(family.__name__ for family in FAMILIES)
    raise InputError(
        f"a {type(vit).__name__} cannot be prompted: it is no {known} of timm's, and lacks "
        f"{', '.join(lacking)} of bpt_det.vit.ColumnarViT.",
        parameter="vit",
    )


_MEMBERS = (*ColumnarViT.__annotations__, "embed", "positions", "run_block")


def embed_patches(patch_embed: nn.Module, images: Tensor) -> Tensor:
    """Return the patches of images; on a GPU by a matrix product, which rounds differently."""
    if images.is_cuda and is_product(patch_embed):
        return embed_by_product(patch_embed, images)
    return patch_embed(images)


def is_product(patch_embed: nn.Module) -> bool:
    """Return whether `embed_by_product` computes this patch embedding: timm's, for any size."""
    return type(patch_embed) is PatchEmbed and patch_embed.output_fmt == Format.NHWC


def embed_by_product(patch_embed: Any, images: Tensor) -> Tensor:
    """Return patches (B, h, w, D) of images (B, 3, h * p, w * p), by one matrix product.

    It is the convolution that timm's `PatchEmbed` is, for which cuDNN has slow kernels at these
    sizes: docs/performance/raw/2026-11-26_machine_h.md.
    """
    height, width = patch_embed.patch_size
    cells = images.unflatten(3, (-1, width)).unflatten(2, (-1, height))  # (B, 3, h, p, w, p)
    rows = cells.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, h, w, 3 * p * p)
    weight, bias = patch_embed.proj.weight, patch_embed.proj.bias
    return patch_embed.norm(F.linear(rows, weight.flatten(1), bias))
