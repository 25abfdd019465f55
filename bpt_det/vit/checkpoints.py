"""Readers of pre-trained weights: one function a publisher's format, all to timm's names."""

import logging
import math
from dataclasses import dataclass

from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.errors import InputError, shorten
from bpt_det.weights import compare_states, read_weights

logger = logging.getLogger(__name__)

MAE_SOURCE = (
    "The official MAE weights (CC BY-NC 4.0: non-commercial) are at "
    "https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth (also _large); "
    "download one and pass model.backbone.net.vit.checkpoint=PATH."
)


@dataclass(frozen=True)
class LoadReport:
    """What a reader did with a file; `str()` is the report a user sees."""

    location: str
    loaded: tuple[str, ...]
    resampled: str
    ignored: tuple[str, ...]
    num_parameters: int

    def __str__(self) -> str:
        return "\n".join(
            [
                f"MAE weights from {self.location}",
                f"  loaded:     {len(self.loaded)} tensors, {self.num_parameters:,} parameters",
                f"  resampled:  {self.resampled or 'nothing'}",
                f"  ignored:    {shorten(self.ignored, 4) or 'nothing'}",
                "  missing:    nothing",
            ]
        )


def load_mae_weights(vit: VisionTransformer, location: str) -> LoadReport:
    """Load an official MAE file into a ViT: the encoder file, or the full one with its decoder.

    Args:
        vit: network to fill; its position embeddings may be of another grid size.
        location: path or http(s) address of ``{"model": state_dict}`` or a bare state_dict.

    Raises:
        InputError: the file cannot be read, or does not hold this ViT; every difference is named.
    """
    state = _state_dict(read_weights(location, hint=MAE_SOURCE), location)
    expected = vit.state_dict()
    resampled = _fit_position_embedding(state, expected, vit.num_prefix_tokens)
    _refuse_differences(state, expected, location)
    vit.load_state_dict({name: state[name] for name in expected})
    report = LoadReport(
        location=location,
        loaded=tuple(expected),
        resampled=resampled,
        ignored=tuple(name for name in state if name not in expected),  # such as the decoder
        num_parameters=sum(value.numel() for value in expected.values()),
    )
    logger.info("%s", report)
    return report


def _state_dict(content: object, location: str) -> dict[str, Tensor]:
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not any(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"'{location}' holds no state_dict, neither bare nor under 'model'.")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _fit_position_embedding(
    state: dict[str, Tensor], expected: dict[str, Tensor], num_prefix_tokens: int
) -> str:
    """Resample `pos_embed` to the ViT's grid where it differs; return what was done, or ''."""
    stored = state.get("pos_embed")
    if stored is None or stored.ndim != 3 or stored.shape[1] == expected["pos_embed"].shape[1]:
        return ""
    old, new = (_grid_side(p, num_prefix_tokens) for p in (stored, expected["pos_embed"]))
    if not old or stored.shape[2] != expected["pos_embed"].shape[2]:
        return ""  # left as it is, and named among the differences
    patch_size = expected["patch_embed.proj.weight"].shape[-1]
    state["pos_embed"] = resample_abs_pos_embed(
        stored, new_size=(new, new), num_prefix_tokens=num_prefix_tokens
    )
    return (
        f"pos_embed {old}x{old} -> {new}x{new} (pretrain_size={old * patch_size} would keep it, "
        "and resample only once, to the image)"
    )


def _grid_side(pos_embed: Tensor, num_prefix_tokens: int) -> int:
    """Return the side of a square grid of position embeddings, 0 if it is not square."""
    num_patches = max(0, pos_embed.shape[1] - num_prefix_tokens)
    side = math.isqrt(num_patches)
    return side if side * side == num_patches else 0


def _refuse_differences(
    state: dict[str, Tensor], expected: dict[str, Tensor], location: str
) -> None:
    missing, resized, unknown = compare_states(state, expected)
    sizes = [
        f"{name} is {tuple(state[name].shape)} but the ViT needs {tuple(expected[name].shape)}"
        for name in resized
    ]
    extra_blocks = [name for name in unknown if name.startswith("blocks.")]
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing ({shorten(missing)})")
    if sizes:
        problems.append(f"{len(sizes)} of another size ({shorten(sizes)})")
    if extra_blocks:
        problems.append(f"{len(extra_blocks)} of further blocks ({shorten(extra_blocks)})")
    if problems:
        raise InputError(
            f"'{location}' does not hold this ViT: {'; '.join(problems)}. Choose the architecture "
            "that the file was made with (embed_dim, num_blocks, patch_size)."
        )
