"""Neck: what is trained between a frozen ViT and the pyramid.

Shape legend: B batch, N patches, H W grid of patches (not pixels), D embed_dim, L layers.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bpt_det.utils.errors import InputError, check_choice, check_count
from bpt_det.vit.windowed_block import WindowedBlock

from .vitdet import last_of_quarters

JOINS = ("concat", "weights", "levels")
_EPS = 1e-6  # of the norms, as the ViT's


class LayerJoin(nn.Module):
    """Patch tokens of several blocks, each with a LayerNorm of its own, joined.

    Trained parameters: 2 L D of the norms; ``concat``: L D^2 + D more; ``weights``: L more.
    ``concat`` is the 1x1 convolution of what dinov2 and others give their dense heads. ``weights``
    is ELMo's scalar mix without its factor (arXiv:1802.05365): a softmax, at first all equal.
    ``levels`` joins nothing: one level of the pyramid for each layer, as ViT-Adapter
    (arXiv:2205.08534) and F-ViT (arXiv:2310.01403) have it.

    Args:
        num_layers: L.
        embed_dim: D.
        how: ``concat``, ``weights`` or ``levels``.

    Raises:
        InputError: there is no such way.
    """

    def __init__(self, num_layers: int, embed_dim: int, how: str) -> None:
        super().__init__()
        check_choice("join", how, JOINS)
        self.how = how
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dim, eps=_EPS) for _ in range(num_layers))
        if how == "concat":
            self.proj = nn.Linear(num_layers * embed_dim, embed_dim)
            nn.init.xavier_uniform_(self.proj.weight)
            nn.init.zeros_(self.proj.bias)
        elif how == "weights":
            self.logits = nn.Parameter(torch.zeros(num_layers))

    def forward(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps of the pyramid as tokens (B, N, D): one, or one for each layer."""
        normed = [norm(tokens) for norm, tokens in zip(self.norms, layers, strict=True)]
        if self.how == "concat":
            return [self.proj(torch.cat(normed, dim=-1))]
        if self.how == "weights":
            weights = self.logits.softmax(dim=0)
            return [sum((w * x for w, x in zip(weights, normed, strict=True)), start=normed[0] * 0)]
        return normed


class NeckBlocks(nn.ModuleList):
    """Trained transformer blocks on the map of patch tokens, as wide as the ViT.

    Global blocks are timm's, without positions: the tokens have theirs. Windowed ones are ViTDet's,
    with relative positions in their window. Trained parameters of a global block: 12 D^2 + 13 D; of
    a windowed one 2 (2 window - 1) D / heads more.

    Args:
        num_blocks: at least 1.
        embed_dim: D.
        num_heads: attention heads.
        window_size: side of a window in patches; 0: global.
    """

    def __init__(self, num_blocks: int, embed_dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        for _ in range(num_blocks):
            block: nn.Module
            if window_size:
                # Positions are those of the window, so the size of the grid does not matter.
                block = WindowedBlock(embed_dim, num_heads, 1, window_size=window_size)
            else:
                norm = partial(nn.LayerNorm, eps=_EPS)
                block = Block(embed_dim, num_heads, qkv_bias=True, norm_layer=norm)
            self.append(block)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, grid: tuple[int, int], checkpointing: bool) -> Tensor:
        """Return tokens (B, N, D) after the blocks; for the arguments see `Neck`."""
        if self.window_size:
            tokens = tokens.unflatten(1, grid)
        for block in self:
            if checkpointing and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return tokens.flatten(1, 2) if self.window_size else tokens


class Neck(nn.Module):
    """Several layers of a ViT joined, then transformer blocks; either may be left out.

    Args:
        vit: gives width and number of heads.
        num_layers: L; 0: the map is the last layer's, without a norm.
        join: see `LayerJoin`.
        num_blocks: of `NeckBlocks`; 0: none.
        window_size: of them.

    Raises:
        InputError: an argument is out of range, or the blocks have several maps.
    """

    def __init__(
        self, vit: Any, num_layers: int, join: str, num_blocks: int, window_size: int
    ) -> None:
        super().__init__()
        check_choice("join", join, JOINS)
        check_count("neck_blocks", num_blocks, 0, "neck_blocks")
        check_count("neck_window", window_size, 0, "neck_window")
        if num_layers and num_blocks and join == "levels":
            raise InputError(
                f"neck_blocks={num_blocks} run on one map, but join=levels gives {num_layers}; set "
                "join=concat or join=weights, or neck_blocks=0.",
                parameter="neck_blocks",
            )
        width = vit.embed_dim
        self.join = LayerJoin(num_layers, width, join) if num_layers else None
        self.blocks = None
        if num_blocks:
            heads = getattr(getattr(vit.blocks[0], "attn", None), "num_heads", None)
            if heads is None:
                raise InputError(
                    "neck_blocks have as many heads as the ViT's attention, but its blocks "
                    f"({type(vit.blocks[0]).__name__}) have no attn.num_heads; set neck_blocks=0.",
                    parameter="neck_blocks",
                )
            self.blocks = NeckBlocks(num_blocks, width, heads, window_size)

    def forward(
        self, layers: Sequence[Tensor], grid: tuple[int, int], *, checkpointing: bool = False
    ) -> list[Tensor]:
        """Return maps (B, D, H, W) of tokens (B, N, D) of each layer.

        Args:
            layers: one without a join.
            grid: (H, W).
            checkpointing: save only the input of each block.
        """
        tokens = list(layers) if self.join is None else self.join(layers)
        if self.blocks is not None:
            tokens = [self.blocks(tokens[0], grid, checkpointing)]
        return [layer.transpose(1, 2).unflatten(2, grid) for layer in tokens]


def resolve_layers(layers: Sequence[int] | str | None, num_blocks: int) -> list[int]:
    """Return block indexes, [] for the last block alone.

    Args:
        layers: block indexes; ``quarters``, the last block of each quarter; None: the last block.
        num_blocks: of the ViT.

    Raises:
        InputError: another word.
    """
    if layers is None:
        return []
    if isinstance(layers, str):
        if layers != "quarters" or num_blocks < 4:
            raise InputError(
                f"layers '{layers}' is unknown for {num_blocks} blocks; write block indexes such "
                "as [2,5,8,11], quarters (from 4 blocks on), or null for the last block.",
                parameter="layers",
            )
        return sorted(last_of_quarters(num_blocks))
    return list(layers)
