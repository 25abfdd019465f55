"""Weight loading into a ViT: read, translate, fit, check, report."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.utils.errors import InputError, shorten

from .files import SHIPPED_PREFIX, check_weights, compare_states, read_weights
from .fitting import fit_patch_embedding, fit_positions, patch_size_advice
from .readers import MAE, READERS, Converted, Reader, WeightFile, without_wrappers

logger = logging.getLogger(__name__)

_CONTAINERS = ("model", "state_dict")
# Tensors of these names change what a ViT computes, so none may be left out unnoticed: those of the
# stem, tokens besides the class token (registers have many names), and relative positions.
_VIT_MODULES = re.compile(
    r"(patch_embed|norm_pre|pre_norm|ln_pre|rope\w*|rel_pos_bias)\.|(?!mask_)\w*tokens?$"
)


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
    file, reader = _choose_reader(file)
    converted = reader.convert(file)
    state, expected = dict(converted.state), vit.state_dict()
    resampled = (
        fit_patch_embedding(state, expected, pretrained_patch_size),
        fit_positions(state, expected, vit.num_prefix_tokens, pretrained_patch_size),
    )
    _check_differences(state, converted, vit, location)
    check_weights({name: state[name] for name in expected}, location)
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


def license_of(location: str) -> str:
    """Return the license of published weights by their location, "unknown" if no publisher fits.

    Args:
        location: path, address, ``timm:NAME`` or ``bpt_det:NAME``.
    """
    name = location.rpartition("/")[2].lower()
    if location.startswith(SHIPPED_PREFIX):
        return "MIT"
    if location.startswith("timm:"):
        published = timm.get_pretrained_cfg(location.removeprefix("timm:"))
        return (published.license if published is not None else None) or "unknown"
    fitting = (reader.license for reader in READERS if re.search(reader.spelling, name))
    return next(fitting, "") or "unknown"


def find_network(content: object, location: str) -> dict[str, Tensor]:
    """Return the tensors of the one network in the content of a file, by name.

    Raises:
        InputError: there is none, or there are several.
    """
    return _to_weight_file(content, location).state


def _to_weight_file(content: object, location: str) -> WeightFile:
    """Find the tensors of a network in a file; those of several are refused.

    Raises:
        InputError: there are none, or those of several networks.
    """
    extras = content if isinstance(content, dict) else {}
    networks = {key: state for key, value in extras.items() if (state := _tensors_of(value))}
    inner = next((key for key in _CONTAINERS if key in networks), "")
    if not inner and len(networks) == 1:
        (inner,) = networks
    state = networks.get(inner) or _tensors_of(extras)
    if not state and networks:
        names = ", ".join(str(key) for key in networks)
        raise InputError(
            f"'{location}' holds several networks: {names}; save one of them alone, as in "
            f"torch.save(torch.load('{location}')['{[*networks][-1]}'], 'alone.pth')."
        )
    if not state:
        places = " or ".join(f"'{key}'" for key in _CONTAINERS)
        raise InputError(f"'{location}' holds no state_dict, neither bare nor under {places}.")
    others = {f"{key}.*": torch.empty(0) for key in networks if key != inner}
    return WeightFile(location, {**state, **others} if inner else state, inner, extras)


def _tensors_of(value: object) -> dict[str, Tensor]:
    """Return the tensors of a mapping by name, or of the one mapping in it that has some."""
    if not isinstance(value, dict):
        return {}
    state = {n: v for n, v in value.items() if isinstance(n, str) and isinstance(v, Tensor)}
    inner = [value[key] for key in _CONTAINERS if isinstance(value.get(key), dict)]
    return state or (_tensors_of(inner[0]) if inner else {})


def _choose_reader(file: WeightFile) -> tuple[WeightFile, Reader]:
    """Return the reader of a file, and the file as it reads it: without a prefix of all names."""
    for rename in (lambda file: file, without_wrappers):
        named = rename(file)
        for reader in READERS:
            if reader.recognize(named):
                return named, reader
    if "frozen" in file.extras:
        raise InputError(
            f"'{file.location}' is a checkpoint of a run, which holds what was trained but no "
            "frozen ViT; give the file that the ViT of that run was loaded from."
        )
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
    sizes = [_describe_size(name, state[name], expected[name]) for name in resized]
    types = [
        f"{name} is {state[name].dtype}"
        for name in expected
        if name in state and not state[name].is_floating_point()
    ]
    further, foreign = _split_by_depth([n for n in unknown if n.startswith("blocks.")], vit)
    foreign += [name for name in unknown if _VIT_MODULES.match(name)]
    problems = [
        f"{len(names)} {what} ({shorten(names)})"
        for names, what in (
            (missing, "missing"),
            (sizes, "of another size"),
            (types, "of no floating-point numbers"),
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
            f"'{location}' does not hold this ViT: {'; '.join(problems)}. "
            f"{_advice(state, expected, foreign, is_foreign_alone=len(problems) == 1)}"
        )


def _describe_size(name: str, stored: Tensor, expected: Tensor) -> str:
    sizes = [tuple(tensor.shape) for tensor in (stored, expected)]
    is_transposed = stored.ndim == 2 and sizes[0] == sizes[1][::-1]
    note = " (transposed)" if is_transposed else ""
    return f"{name} is {sizes[0]} but the ViT needs {sizes[1]}{note}"


def _advice(
    state: dict[str, Tensor],
    expected: dict[str, Tensor],
    foreign: Sequence[str],
    *,
    is_foreign_alone: bool,
) -> str:
    """Return the end of the error about a file that does not hold the ViT."""
    timm = "a ViT with such modules loads with checkpoint=timm:NAME, if timm has it."
    if foreign and is_foreign_alone:
        return f"No sizes change this: {timm}"
    sizes = (
        "Choose the architecture that the file was made with (embed_dim, num_blocks, num_heads, "
        "patch_size)"
    )
    if different := _sizes_of(state).items() - _sizes_of(expected).items():
        sizes += ": set " + " ".join(f"{name}={size}" for name, size in sorted(different))
    sizes += patch_size_advice(state, expected)
    return f"{sizes}; {timm}" if foreign else f"{sizes}."


def _sizes_of(state: dict[str, Tensor]) -> dict[str, int]:
    """Return the sizes that the tensors of a ViT tell."""
    blocks = {int(match[1]) for name in state if (match := re.match(r"blocks\.(\d+)\.", name))}
    sizes = {"num_blocks": len(blocks)}
    if (patches := state.get("patch_embed.proj.weight")) is not None and patches.ndim == 4:
        sizes |= {"embed_dim": patches.shape[0], "patch_size": patches.shape[3]}
    return sizes


def _split_by_depth(names: Sequence[str], vit: VisionTransformer) -> tuple[list[str], list[str]]:
    """Return names in blocks beyond the ViT's depth, and names in its blocks, such as a scale's."""
    present = tuple(f"blocks.{index}." for index in range(len(vit.blocks)))
    foreign = [name for name in names if name.startswith(present)]
    return [name for name in names if name not in foreign], foreign
