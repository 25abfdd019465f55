"""AdaptFormer: a small MLP beside the MLP of each block.

Shape legend: B batch, T tokens, D embed_dim, m bottleneck.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from timm.models.eva import EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bpt_det.utils.errors import InputError, check_count, check_finite, check_probability

from .method import Parts, TuningMethod


class AdaptFormer(TuningMethod):
    """A bottleneck beside the MLP of a block: ``x + MLP(norm(x)) + scale * up(ReLU(down(x)))``.

    Source: Chen et al., arXiv:2205.13535; places, values and initial values as in
    ShoufaChen/AdaptFormer@0f8c363 models/adapter.py and custom_modules.py: without a norm of its
    own, and with ``up`` at first 0. Where the MLP has a layer scale, the bottleneck has none.
    Trained parameters in a block: 2 D m + m + D. ViT-B with m = 64 in all 12 blocks: 1,189,632.

    Args:
        bottleneck: m, at least 1.
        scale: of the bottleneck's output.
        dropout: probability, in [0, 1), that a value inside the bottleneck is 0 in training.
        placement: the blocks, see `resolve_placement`.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        bottleneck: int = 64,
        *,
        scale: float = 0.1,
        dropout: float = 0.1,
        placement: str | Sequence[int] = "all",
    ) -> None:
        super().__init__(placement)
        check_count("bottleneck", bottleneck, 1, "bottleneck")
        check_probability("dropout", dropout)
        check_finite("scale", scale)
        self.bottleneck, self.scale, self.dropout = bottleneck, scale, dropout

    @property
    def checkpoint_settings(self) -> dict[str, float]:
        """The scale, which shows in no weight."""
        return {"scale": float(self.scale)}

    def build(self, block: Any) -> nn.Module:
        """Return the bottleneck of a block."""
        if not isinstance(block, Block | EvaBlock | EvaBlockPostNorm):
            raise InputError(
                "AdaptFormer stands beside the MLP of timm's Block and Eva's blocks, but those of "
                f"this ViT are {type(block).__name__}; use prompts, TrainedBlocks or BitFit.",
                parameter="tuning",
            )
        norm: Any = block.norm2
        return Bottleneck(norm.weight.numel(), self.bottleneck, self.scale, self.dropout)

    def replace(self, block: Any, trained: Any) -> Parts:
        """Return an MLP that takes the block's tokens, with the bottleneck beside it."""
        parts: Parts = {"mlp": _Parallel(block, trained), "norm2": nn.Identity()}
        if hasattr(block, "ls2"):
            parts["ls2"] = nn.Identity()
        if getattr(block, "gamma_2", None) is not None:
            parts["gamma_2"] = None
        return parts


class Bottleneck(nn.Module):
    """Two linear layers, D to m to D, with a ReLU between them."""

    def __init__(self, embed_dim: int, bottleneck: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.down = nn.Linear(embed_dim, bottleneck)
        self.up = nn.Linear(bottleneck, embed_dim)
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is added to tokens (B, T, D)."""
        return self.scale * self.up(self.dropout(F.relu(self.down(tokens))))


class _Parallel(nn.Module):
    """The branch of a block's MLP with its norm, before or behind it, and its layer scale."""

    def __init__(self, block: Any, bottleneck: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.bottleneck = bottleneck

    def forward(self, tokens: Tensor) -> Tensor:
        mlp, norm = self.block.mlp, self.block.norm2
        is_post_norm = isinstance(self.block, EvaBlockPostNorm)
        output = norm(mlp(tokens)) if is_post_norm else mlp(norm(tokens))
        if hasattr(self.block, "ls2"):
            output = self.block.ls2(output)
        gamma = getattr(self.block, "gamma_2", None)
        if gamma is not None:
            output = gamma * output
        return output + self.bottleneck(tokens)
