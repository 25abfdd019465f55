"""Readers of pre-trained ViTs, one per published format.

A reader recognizes its format by the names of the tensors and translates them to timm's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from bpt_det.utils.errors import InputError

from .google_npz import convert_google, is_google
from .hugging_face import convert_hugging_face, is_hugging_face

_MAWS_WIDTHS = (2560, 4096)  # ViT-2B and ViT-6.5B, which nobody else published
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation, RGB
_PATCHES = "patch_embed.proj.weight"
_VITDET_PREFIX = "backbone.net."
_FACEBOOK = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True)
class WeightFile:
    """Content of a weight file: ``state`` are its tensors, ``extras`` all that is beside them."""

    location: str
    state: dict[str, Tensor]
    container: str = ""  # key of the file under which the tensors are; '' for a bare state_dict
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Converted:
    """Tensors under timm's names; those that are not the ViT's have names unknown to timm."""

    state: dict[str, Tensor]
    num_heads: int | None = None  # where the file says so: no shape tells
    made: tuple[str, ...] = ()
    images: str = ""  # see `describe_images`


@dataclass(frozen=True)
class Reader:
    """Reader of one format.

    Args:
        name: of the pre-training or the publisher.
        layout: names of the tensors in its files, for an error.
        recognize: returns whether a file is of this format.
        convert: translates a file of this format.
        spelling: pattern of the locations of such files, to name the right source of a missing one.
        source: where such files are, and their license.
        license: its identifier in SPDX; "" where each file has its own.
    """

    name: str
    layout: str
    recognize: Callable[[WeightFile], bool]
    convert: Callable[[WeightFile], Converted]
    spelling: str
    source: str
    license: str = ""


def describe_images(mean: Sequence[float], std: Sequence[float]) -> str:
    """Return the report of a normalization in [0, 1] that is not ImageNet's, else ''."""
    if (tuple(mean), tuple(std)) == _IMAGENET:
        return ""
    means, stds = ([round(255 * value, 3) for value in values] for values in (mean, std))
    return f"trained with pixel_mean={means} pixel_std={stds}"


def _has_prefix(prefix: str) -> Callable[[WeightFile], bool]:
    return lambda file: any(name.startswith(prefix) for name in file.state)


def _without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _has_timm_names(file: WeightFile) -> bool:
    names = ("patch_embed.", "blocks.0.")
    return all(any(name.startswith(prefix) for name in file.state) for prefix in names)


def without_wrappers(file: WeightFile) -> WeightFile:
    """Return a file whose ViT has timm's names, where one is in it under a prefix.

    Networks around a ViT, processes and compilation give its names prefixes, also nested ones, such
    as ``module.``, ``_orig_mod.``, ``model.`` and ``backbone.``. What has not the prefix of the ViT
    is something else: a head, a decoder.

    Raises:
        InputError: there are several ViTs.
    """
    ends = [name for name in file.state if name.endswith(f".{_PATCHES}")]
    prefixes = [name.removesuffix(_PATCHES) for name in ends]
    if len(prefixes) > 1:
        raise InputError(
            f"'{file.location}' holds several ViTs, under {', '.join(prefixes)}; save the tensors "
            "of one of them alone, without the prefix."
        )
    if not prefixes:
        return file
    prefix = prefixes[0].removesuffix(_VITDET_PREFIX)
    return replace(file, state=_without_prefix(file.state, prefix))


def _as_it_is(file: WeightFile) -> Converted:
    """A ViT that was fine-tuned on the mean of its patches has its norm after that: ``fc_norm``."""
    state = dict(file.state)
    if "fc_norm.weight" not in state or "norm.weight" in state:
        return Converted(state)
    width = state["fc_norm.weight"].shape[-1:]
    state |= {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    return Converted(state, made=("norm (ones and zeros: fc_norm is of the mean of patches)",))


def _is_mae(file: WeightFile) -> bool:
    return _has_timm_names(file) and file.container == "model" and "head.bias" not in file.state


def _convert_moco(file: WeightFile) -> Converted:
    """facebookresearch/moco-v3 main_moco.py (file), vits.py (12 heads, even where timm has 6)."""
    is_official = file.extras.get("arch") in ("vit_small", "vit_base")
    state = _without_prefix(file.state, "module.base_encoder.")
    return Converted(state, num_heads=12 if is_official else None)


def _is_maws(file: WeightFile) -> bool:
    """facebookresearch/maws maws/model_builder.py: timm's names, bare or within a CLIP model."""
    if "vision_encoder.cls_token" in file.state:
        return True
    width = file.state.get("cls_token", torch.empty(0)).shape[-1]
    is_spelled = re.search(MAWS.spelling, file.location.lower())
    return (
        _has_timm_names(file) and not file.container and bool(is_spelled or width in _MAWS_WIDTHS)
    )


def _convert_maws(file: WeightFile) -> Converted:
    return Converted(_without_prefix(file.state, "vision_encoder."))


def _convert_google(file: WeightFile) -> Converted:
    state, num_heads = convert_google(file.state, file.location)
    return Converted(state, num_heads, images=describe_images([0.5] * 3, [0.5] * 3))


def _convert_vitdet(file: WeightFile) -> Converted:
    """ViTDet's `ViT` (arXiv:2203.16527) has neither a class token nor a final norm."""
    prefix = _VITDET_PREFIX
    state = {}
    for name, value in file.state.items():
        is_relative = re.search(r"\.rel_pos_[hw]$", name)  # the plain ViT has no place for them
        state[name if is_relative else name.removeprefix(prefix)] = value
    width = state.get("pos_embed", torch.empty(0)).shape[-1]
    state |= {"cls_token": torch.zeros(1, 1, width)}
    state |= {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    return Converted(state, made=("cls_token (zeros)", "norm (ones and zeros)"))


MAE = Reader(
    name="MAE",
    layout="{'model': timm's names}",
    recognize=_is_mae,
    convert=_as_it_is,
    spelling=r"mae",
    license="CC-BY-NC-4.0",
    source=(
        "The official MAE weights (CC BY-NC 4.0: non-commercial) are at "
        f"{_FACEBOOK}/mae/pretrain/mae_pretrain_vit_base.pth (also _large, _huge)."
    ),
)
MOCO = Reader(
    name="MoCo v3",
    layout="module.base_encoder.*",
    recognize=_has_prefix("module.base_encoder."),
    convert=_convert_moco,
    spelling=r"moco|vit-[sb]-\d+ep",
    license="CC-BY-NC-4.0",
    source=(
        "The official MoCo v3 weights (CC BY-NC 4.0: non-commercial) are at "
        f"{_FACEBOOK}/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar (also vit-s-300ep)."
    ),
)
MAWS = Reader(
    name="MAWS",
    layout="timm's names, bare or under vision_encoder.*",
    recognize=_is_maws,
    convert=_convert_maws,
    spelling=r"\bmaws|vit_2b14|vit_6\.5b14",
    license="CC-BY-NC-4.0",
    source=(
        "The official MAWS weights (CC BY-NC 4.0: non-commercial) are at "
        f"{_FACEBOOK}/maws/pretrain/maws/vit_2b14.pt (also vit_b16, vit_l16, vit_h14)."
    ),
)
VITDET = Reader(
    name="ViTDet",
    layout="backbone.net.*",
    recognize=_has_prefix(_VITDET_PREFIX),
    convert=_convert_vitdet,
    spelling=r"vitdet|model_final_\w+\.pkl",
    license="CC-BY-SA-3.0",
    source=(
        "The official ViTDet weights (CC BY-SA 3.0) are linked from projects/ViTDet in the "
        "repository of arXiv:2203.16527."
    ),
)
GOOGLE = Reader(
    name="Google's supervised",
    layout="Transformer/encoderblock_*",
    recognize=lambda file: is_google(file.state),
    convert=_convert_google,
    spelling=r"\.npz$",
    license="Apache-2.0",
    source=(
        "Google's supervised weights (Apache 2.0) are at "
        "https://storage.googleapis.com/vit_models/imagenet21k/ViT-B_16.npz and under "
        "https://storage.googleapis.com/vit_models/augreg."
    ),
)
HUGGING_FACE = Reader(
    name="Hugging Face's",
    layout="embeddings.*, encoder.layer.*",
    recognize=lambda file: is_hugging_face(file.state),
    convert=lambda file: Converted(convert_hugging_face(file.state, file.location)),
    spelling=r"vit-mae|vit-(base|large|huge)-patch",
    source=(
        "Weights of transformers' ViT and ViTMAE are at https://huggingface.co, each with its "
        "license; give checkpoint=timm:NAME to have timm download one of its own."
    ),
)
TIMM = Reader(
    name="timm's",
    layout="timm's names",
    recognize=_has_timm_names,
    convert=_as_it_is,
    spelling=r"\.safetensors$|\.bin$",
    source=(
        "timm's weights are at https://huggingface.co/timm, each with its license; give "
        "checkpoint=timm:NAME to have timm download one."
    ),
)

# The first that recognizes a file reads it; those of files in timm's names come last.
READERS = (GOOGLE, MOCO, VITDET, HUGGING_FACE, MAWS, MAE, TIMM)
