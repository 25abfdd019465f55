"""Google's JAX checkpoints of supervised ViTs (google-research/vision_transformer).

Shape legend: D embed_dim, p patch_size, h heads, k head width.
"""

import torch
from torch import Tensor

from bpt_det.utils.errors import InputError, one_line

_POSITIONS = "Transformer/posembed_input/pos_embedding"
_ATTENTION = "MultiHeadDotProductAttention_1"
_VIT_PREFIXES = ("Transformer/", "embedding/", "cls")


def is_google(state: dict[str, Tensor]) -> bool:
    """Return whether these are the arrays of a ViT of Google's, as VPT and augreg use them."""
    return _POSITIONS in state


def convert_google(state: dict[str, Tensor], location: str) -> tuple[dict[str, Tensor], int]:
    """Return the weights under timm's names, and the number of heads.

    Raises:
        InputError: an array is missing, or has too few dimensions.
    """
    names = {name.split("/")[1] for name in state if "/encoderblock_" in name}
    try:
        converted = {
            "cls_token": state["cls"],
            "pos_embed": state[_POSITIONS],
            "patch_embed.proj.weight": state["embedding/kernel"].permute(
                3, 2, 0, 1
            ),  # (p, p, 3, D)
            "patch_embed.proj.bias": state["embedding/bias"],
        }
        for index in range(len(names)):
            block = _convert_block(state, f"Transformer/encoderblock_{index}")
            converted |= {f"blocks.{index}.{name}": value for name, value in block.items()}
        converted |= _convert_norm(state, "Transformer/encoder_norm", "norm")
        num_heads = state[f"Transformer/encoderblock_0/{_ATTENTION}/query/kernel"].shape[1]
    except (KeyError, RuntimeError, IndexError) as error:
        reason = one_line(error).strip("'\"")
        raise InputError(
            f"'{location}' does not hold a whole ViT in Google's layout: {reason}; download it "
            "again."
        ) from error
    others = {n: value for n, value in state.items() if not n.startswith(_VIT_PREFIXES)}
    return {**converted, **others}, num_heads


def _convert_block(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    attention = f"{prefix}/{_ATTENTION}"
    layers = [f"{attention}/{name}" for name in ("query", "key", "value")]
    weights = [state[f"{layer}/kernel"].flatten(1).T for layer in layers]  # (D, h, k) each
    return {
        **_convert_norm(state, f"{prefix}/LayerNorm_0", "norm1"),
        "attn.qkv.weight": torch.cat(weights),
        "attn.qkv.bias": torch.cat([state[f"{layer}/bias"].flatten() for layer in layers]),
        "attn.proj.weight": state[f"{attention}/out/kernel"].flatten(end_dim=1).T,  # (h, k, D)
        "attn.proj.bias": state[f"{attention}/out/bias"],
        **_convert_norm(state, f"{prefix}/LayerNorm_2", "norm2"),
        "mlp.fc1.weight": state[f"{prefix}/MlpBlock_3/Dense_0/kernel"].T,
        "mlp.fc1.bias": state[f"{prefix}/MlpBlock_3/Dense_0/bias"],
        "mlp.fc2.weight": state[f"{prefix}/MlpBlock_3/Dense_1/kernel"].T,
        "mlp.fc2.bias": state[f"{prefix}/MlpBlock_3/Dense_1/bias"],
    }


def _convert_norm(state: dict[str, Tensor], prefix: str, name: str) -> dict[str, Tensor]:
    return {f"{name}.weight": state[f"{prefix}/scale"], f"{name}.bias": state[f"{prefix}/bias"]}
