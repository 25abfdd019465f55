"""Weight loading into a ViT: read, translate, fit, check, report."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.utils.errors import InputError, shorten

from .files import compare_states, read_weights
from .fitting import fit_patch_embedding, fit_positions, patch_size_advice
from .readers import MAE, READERS, Converted, Reader, WeightFile

logger = logging.getLogger(__name__)

_CONTAINERS = ("model", "state_dict")
# Modules with these names change what a ViT computes, so none may be left out unnoticed.
_VIT_MODULES = ("patch_embed.", "norm_pre.", "reg_token", "dist_token")


@dataclass(frozen=True)
class LoadReport:
    """Report on loaded weights; `str()` is the text that a user sees.

    Args:
        pretraining: name of the reader, such as MAE.
        location: path or address of the file, or ``timm:NAME``.
        loaded: names of the tensors in the ViT that were filled.
        resampled: tensors that were resampled, with both sizes; '' for none.
        ignored: names in the file that the ViT has no use for.
        num_parameters: count of all values in ``loaded``.
        made: tensors that the file lacks and that got a neutral value, with that value.
        images: normalization of its images, where it is unusual; see `describe_images`.
    """

    pretraining: str
    location: str
    loaded: tuple[str, ...]
    resampled: str
    ignored: tuple[str, ...]
    num_parameters: int
    made: tuple[str, ...] = ()
    images: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.pretraining} weights from {self.location}",
            f"  loaded:     {len(self.loaded)} tensors, {self.num_parameters:,} parameters",
            f"  resampled:  {self.resampled or 'nothing'}",
            f"  ignored:    {shorten(self.ignored, 4) or 'nothing'}",
            "  missing:    nothing",
        ]
        if self.made:
            lines.append(f"  made:       {', '.join(self.made)}")
        if self.images:
            lines.append(f"  images:     {self.images}")
        return "\n".join(lines)


def load_weights(
    vit: VisionTransformer, location: str, *, pretrained_patch_size: int | None = None
) -> LoadReport:
    """Load pre-trained weights, in any format of `READERS`, into a ViT.

    Args:
        vit: network to fill; its position embeddings may be of another grid size.
        location: path, http(s) address, or ``bpt_det:NAME`` (see `local_path`).
        pretrained_patch_size: patch size of the file, if its patch embedding is to be resampled
            to the ViT's; None: the ViT's.

    Raises:
        InputError: the file cannot be read, is in no known format, or does not hold this ViT;
            every difference is named.
    """
    file = _to_weight_file(
        read_weights(location, source=source_of(location), hint="weights"), location
    )
    reader = _choose_reader(file)
    converted = reader.convert(file)
    state, expected = dict(converted.state), vit.state_dict()
    resampled = (
        fit_patch_embedding(state, expected, pretrained_patch_size),
        fit_positions(state, expected, vit.num_prefix_tokens, pretrained_patch_size),
    )
    _check_differences(state, converted, vit, location)
    vit.load_state_dict({name: state[name] for name in expected})
    report = LoadReport(
        pretraining=reader.name,
        location=location,
        loaded=tuple(expected),
        resampled="; ".join(filter(None, resampled)),
        ignored=tuple(name for name in state if name not in expected),  # such as the decoder
        num_parameters=sum(value.numel() for value in expected.values()),
        made=converted.made,
        images=converted.images,
    )
    logger.debug("%s", report)
    return report


def source_of(location: str) -> str:
    """Return a sentence with the source of a weight file, going by its name."""
    name = location.rpartition("/")[2].lower()
    return next((r for r in READERS if re.search(r.spelling, name)), MAE).source


def _to_weight_file(content: object, location: str) -> WeightFile:
    extras = content if isinstance(content, dict) else {}
    container = next((key for key in _CONTAINERS if isinstance(extras.get(key), dict)), "")
    named = extras[container] if container else extras
    state = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if not state:
        places = " or ".join(f"'{key}'" for key in _CONTAINERS)
        raise InputError(f"'{location}' holds no state_dict, neither bare nor under {places}.")
    return WeightFile(location, state, container, extras)


def _choose_reader(file: WeightFile) -> Reader:
    for reader in READERS:
        if reader.recognize(file):
            return reader
    formats = ", ".join(f"{reader.name} ({reader.layout})" for reader in READERS)
    raise InputError(
        f"'{file.location}' is in no known format: its names are "
        f"{shorten(list(file.state))}. Formats: {formats}. A network that timm knows loads with "
        "checkpoint=timm:NAME."
    )


def _check_differences(
    state: dict[str, Tensor], converted: Converted, vit: VisionTransformer, location: str
) -> None:
    expected = vit.state_dict()
    missing, resized, unknown = compare_states(state, expected)
    sizes = [
        f"{name} is {tuple(state[name].shape)} but the ViT needs {tuple(expected[name].shape)}"
        for name in resized
    ]
    further, foreign = _split_by_depth([n for n in unknown if n.startswith("blocks.")], vit)
    foreign += [name for name in unknown if name.startswith(_VIT_MODULES)]
    problems = [
        f"{len(names)} {what} ({shorten(names)})"
        for names, what in (
            (missing, "missing"),
            (sizes, "of another size"),
            (further, "of further blocks"),
            (foreign, "for modules that this ViT does not have"),
        )
        if names
    ]
    attention: Any = vit.blocks[0].attn
    num_heads = attention.num_heads
    if converted.num_heads not in (None, num_heads):
        problems.append(f"num_heads={num_heads} but it was made with {converted.num_heads}")
    if problems:
        raise InputError(
            f"'{location}' does not hold this ViT: {'; '.join(problems)}. Choose the architecture "
            "that the file was made with (embed_dim, num_blocks, num_heads, patch_size)"
            f"{patch_size_advice(state, expected)}."
        )


def _split_by_depth(names: Sequence[str], vit: VisionTransformer) -> tuple[list[str], list[str]]:
    """Return names in blocks beyond the ViT's depth, and names in its blocks, such as a scale's."""
    present = tuple(f"blocks.{index}." for index in range(len(vit.blocks)))
    foreign = [name for name in names if name.startswith(present)]
    return [name for name in names if name not in foreign], foreign
