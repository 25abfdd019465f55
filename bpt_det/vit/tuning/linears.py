"""Linear layers of a transformer block, by their role, for timm's ViT and Eva alike."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bpt_det.utils.errors import InputError


class Linear(NamedTuple):
    """One linear layer of a block.

    Args:
        name: of its module in the block.
        module: it.
        bias: what it adds, (out_features,); Eva's fused attention keeps it elsewhere. None: none.
        elsewhere: name of the bias parameter that makes the attention bypass the module, or "".
    """

    name: str
    module: nn.Linear
    bias: Tensor | None
    elsewhere: str = ""

    @property
    def others(self) -> dict[str, None]:
        """What a replacement of the module has to turn off."""
        return {self.elsewhere: None} if self.elsewhere else {}


def part_of(block: Any, name: str) -> Any:
    """Return a part of a block.

    Raises:
        InputError: the block has none of this name.
    """
    part = getattr(block, name, None)
    if part is None:
        raise InputError(
            f"the blocks of this ViT ({type(block).__name__}) have no {name}, which the tuning "
            "method changes; use prompts, TrainedBlocks or BitFit.",
            parameter="tuning",
        )
    return part


def attention_linears(block: Any) -> dict[str, tuple[Linear, slice]]:
    """Return layer and output rows of ``q``, ``k``, ``v`` and ``proj``.

    Raises:
        InputError: the attention has neither one projection for q, k, v nor three.
    """
    attention = part_of(block, "attn")
    proj = Linear("attn.proj", attention.proj, attention.proj.bias)
    rows = {"proj": (proj, slice(0, proj.module.out_features))}
    fused = getattr(attention, "qkv", None)
    if fused is not None:
        layer = _fused(attention, fused)
        size = fused.out_features // 3
        of_qkv = {x: (layer, slice(i * size, (i + 1) * size)) for i, x in enumerate("qkv")}
        return of_qkv | rows
    of_qkv = {}
    for role in "qkv":
        module = getattr(attention, f"{role}_proj", None)
        if not isinstance(module, nn.Linear):
            raise InputError(
                f"the attention of this ViT ({type(attention).__name__}) has no qkv and no "
                f"{role}_proj, which tuning methods look for; use prompts, or tuning=null.",
                parameter="tuning",
            )
        layer = Linear(f"attn.{role}_proj", module, module.bias)
        of_qkv[role] = (layer, slice(0, module.out_features))
    return of_qkv | rows


def _fused(attention: Any, module: nn.Linear) -> Linear:
    if getattr(attention, "q_bias", None) is None:
        return Linear("attn.qkv", module, module.bias)
    bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    return Linear("attn.qkv", module, bias, "attn.q_bias")


def mlp_linears(block: Any) -> Iterator[Linear]:
    """Yield every linear layer of the MLP: two, or three of a SwiGLU with separate gates."""
    for name, module in part_of(block, "mlp").named_modules():
        if isinstance(module, nn.Linear):
            yield Linear(f"mlp.{name}", module, module.bias)


def plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer of these values, which are copied; it is not trained."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return layer.eval()
