"""LoRA: low-rank changes of linear layers.

Shape legend: B batch, T tokens, D embed_dim, r rank.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpt_det.utils.errors import InputError, check_count, check_finite, check_probability

from .linears import Linear, attention_linears, mlp_linears, plain_linear
from .method import Parts, TuningMethod

TARGETS = ("q", "k", "v", "proj", "mlp")


class LoRA(TuningMethod):
    """Low-rank changes of linear layers: ``W x + (alpha / rank) B A x``, with B at first 0.

    Source: Hu et al., arXiv:2106.09685; A as microsoft/LoRA@0771c1e loralib/layers.py starts it.
    Trained parameters: rank * (inputs + outputs) of each layer. In a block of a plain ViT with an
    MLP of 4 D: 2 r D each for q, k, v and proj, 10 r D for the MLP. ViT-B with rank 8 in all 12
    blocks: 294,912 for q and v, 589,824 for q, k, v and proj, 1,327,104 with the MLP.

    Args:
        rank: r, from 1 to the smallest size of a changed layer.
        targets: what is changed, of ``q``, ``k``, ``v``, ``proj`` and ``mlp`` (all linear layers
            of the MLP).
        alpha: numerator of the scale; None: ``rank``, a scale of 1.
        dropout: probability, in [0, 1), that an input of A is 0 in training.
        placement: the blocks, see `resolve_placement`.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        rank: int = 8,
        targets: Sequence[str] = ("q", "v"),
        *,
        alpha: float | None = None,
        dropout: float = 0.0,
        placement: str | Sequence[int] = "all",
    ) -> None:
        super().__init__(placement)
        check_count("rank", rank, 1, "tuning.rank")
        unknown = [target for target in targets if target not in TARGETS]
        if isinstance(targets, str) or unknown or not targets:
            raise InputError(
                f"targets of LoRA must be a list of {', '.join(TARGETS)}, got {targets!r}.",
                parameter="targets",
            )
        check_probability("dropout", dropout)
        if alpha is not None:
            check_finite("alpha", alpha)
        self.rank, self.targets = rank, tuple(targets)
        self.scale = 1.0 if alpha is None else alpha / rank
        self.dropout = nn.Dropout(dropout)

    @property
    def checkpoint_settings(self) -> dict[str, float]:
        """The numerator of the scale, which shows in no weight."""
        return {"alpha": self.scale * self.rank}

    def build(self, block: Any) -> nn.Module:
        """Return the factors of each target, by its name."""
        factors = nn.ModuleDict()
        for key, layer, rows in self._targets(block):
            sizes = layer.module.in_features, rows.stop - rows.start
            if self.rank > min(sizes):
                raise InputError(
                    f"rank of LoRA must be in [1, {min(sizes)}], the smaller size of {layer.name}, "
                    f"got {self.rank}.",
                    parameter="tuning.rank",
                )
            factors[key] = LowRank(*sizes, self.rank)
        return factors

    def replace(self, block: Any, trained: Any) -> Parts:
        """Return linear layers that add the changes to their outputs."""
        parts: Parts = {}
        for key, layer, rows in self._targets(block):
            changed = parts.setdefault(layer.name, _Changed(layer, self.scale, self.dropout))
            changed.changes.append((rows, trained[key]))
            parts |= layer.others
        return parts

    def merge(self, block: Any, trained: Any) -> Parts:
        """Return linear layers whose weights have the changes in them."""
        if self.training and self.dropout.p:
            raise InputError(
                f"LoRA cannot be merged while its dropout={self.dropout.p} is on; call eval() on "
                "the model first."
            )
        layers: dict[str, Linear] = {}
        weights: dict[str, Tensor] = {}
        for key, layer, rows in self._targets(block):
            layers[layer.name] = layer
            weight = weights.setdefault(layer.name, layer.module.weight.detach().clone())
            factors = trained[key]
            weight[rows] += self.scale * (factors.up @ factors.down).detach()
        parts: Parts = {}
        for name, layer in layers.items():
            parts |= {name: plain_linear(weights[name], layer.bias)} | layer.others
        return parts

    def _targets(self, block: Any) -> Iterator[tuple[str, Linear, slice]]:
        """Yield each change: a name for its factors, the layer, and the rows of its output."""
        for role, (layer, rows) in attention_linears(block).items():
            if role in self.targets:
                yield role, layer, rows
        if "mlp" in self.targets:
            for layer in mlp_linears(block):
                yield layer.name.replace(".", "_"), layer, slice(0, layer.module.out_features)


class LowRank(nn.Module):
    """The two factors of a change: A is ``down`` (r, inputs), B is ``up`` (outputs, r)."""

    def __init__(self, num_inputs: int, num_outputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, num_inputs))
        self.up = nn.Parameter(torch.zeros(num_outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))


class _Changed(nn.Module):
    """A linear layer with changes of some rows of its output."""

    def __init__(self, layer: Linear, scale: float, dropout: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.changes: list[tuple[slice, Any]] = []
        self.scale = scale
        self.dropout = dropout

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, T, outputs) of (B, T, inputs)."""
        output = F.linear(tokens, self.layer.module.weight, self.layer.bias)
        # One product with all A, so that the tokens are saved for the backward pass once.
        down = torch.cat([factors.down for _, factors in self.changes])
        inner = F.linear(self.dropout(tokens), down).chunk(len(self.changes), dim=-1)
        for (rows, factors), part in zip(self.changes, inner, strict=True):
            change = self.scale * F.linear(part, factors.up)
            if change.shape == output.shape:
                output = output + change
            else:
                output[..., rows].add_(change)  # in place: the output itself is not saved
        return output
