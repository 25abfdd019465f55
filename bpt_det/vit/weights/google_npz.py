"""Google's JAX checkpoints of supervised ViTs (google-research/vision_transformer), by timm."""

import math

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.utils.errors import InputError, one_line

from .files import local_path

_POSITIONS = "Transformer/posembed_input/pos_embedding"
_QUERY = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
_MLP_BIAS = "Transformer/encoderblock_0/MlpBlock_3/Dense_0/bias"


def is_google(state: dict[str, Tensor]) -> bool:
    """Return whether these are the arrays of a ViT of Google's, as VPT and augreg use them."""
    return _POSITIONS in state


def convert_google(state: dict[str, Tensor], location: str) -> tuple[dict[str, Tensor], int]:
    """Return the weights under timm's names, and the number of heads.

    timm fills a ViT of the file's own sizes, so it neither resamples nor leaves anything out.

    Raises:
        InputError: an array is missing, or the arrays do not fit each other.
    """
    try:
        vit, num_heads = _empty_vit(state)
        vit.load_pretrained(str(local_path(location)))
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        reason = one_line(error).strip("'\"")
        raise InputError(
            f"'{location}' does not hold a whole ViT in Google's layout: {reason}; download it "
            "again."
        ) from error
    is_of_vit = ("Transformer/", "embedding/", "cls")
    others = {n: value for n, value in state.items() if not n.startswith(is_of_vit)}
    return {**vit.state_dict(), **others}, num_heads


def _empty_vit(state: dict[str, Tensor]) -> tuple[VisionTransformer, int]:
    """Build a ViT of the sizes of the file, its values not set."""
    patch_size, _, _, embed_dim = state["embedding/kernel"].shape
    num_heads = state[_QUERY].shape[1]  # (D, heads, D / heads)
    num_patches = state[_POSITIONS].shape[1] - 1
    with torch.device("meta"):  # draws no random numbers
        vit = VisionTransformer(
            img_size=math.isqrt(num_patches) * patch_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=len({name.split("/")[1] for name in state if "/encoderblock_" in name}),
            num_heads=num_heads,
            mlp_ratio=state[_MLP_BIAS].shape[0] / embed_dim,
            num_classes=0,
            global_pool="",
        )
    return vit.to_empty(device="cpu").requires_grad_(False), num_heads
