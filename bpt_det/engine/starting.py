"""Start from a trained model: what a run takes of a checkpoint, and what begins anew.

Layers with a row for each class take the rows of the classes that both models know by name.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.mask_head import BaseMaskRCNNHead
from omegaconf import DictConfig
from torch import Tensor, nn

from bpt_det.utils.errors import InputError, check_choice, shorten

from .protocols import HasClassLayers, prompted_networks

INIT_CLASSES = ("match", "new", "strict")
INIT_PROMPTS = ("keep", "new", "frozen")
_PARTS = ("roi_heads.mask_head.",)  # that one of two detectors may lack
_OF_DATA = ".fed_loss_cls_weights"  # counted anew in the first step of training
_COCO = [entry["name"] for entry in COCO_CATEGORIES if entry["isthing"]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """How a run starts from a checkpoint.

    Args:
        classes: ``match`` copies the rows of classes of the same name, ``new`` none; ``strict``
            refuses a file of other classes.
        prompts: ``keep`` and ``frozen`` load them, ``new`` does not.

    Raises:
        InputError: one of them is something else.
    """

    classes: str = "match"
    prompts: str = "keep"

    def __post_init__(self) -> None:
        check_choice("train.init_classes", self.classes, INIT_CLASSES)
        check_choice("train.init_prompts", self.prompts, INIT_PROMPTS)


@dataclass
class StartReport:
    """What was taken of a checkpoint.

    Attributes:
        loaded: tensors that come from it.
        own: tensors that keep the values that the model was built with.
        class_layers: layers with rows by class.
        copied: names of the classes whose rows were copied.
        new: names of the other classes.
        known: whether both sides name their classes, so that rows could be matched.
        dropped: tensors of the file that the model has no place for.
        has_new_prompts: whether prompts begin anew.
    """

    loaded: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    class_layers: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    known: bool = True
    dropped: list[str] = field(default_factory=list)
    has_new_prompts: bool = False


def read_start(settings: DictConfig) -> Start:
    """Return what `train.init_classes` and `train.init_prompts` of a config say.

    Raises:
        InputError: one of them is none of its choices, or prompts are to be frozen that come from
            no checkpoint.
    """
    start = Start(settings.get("init_classes", "match"), settings.get("init_prompts", "keep"))
    if start.prompts == "frozen" and not settings.init_checkpoint:
        raise InputError(
            "train.init_prompts=frozen needs train.init_checkpoint=FILE, whose prompts stay as "
            "they are; name it, or leave the prompts to be trained."
        )
    return start


def freeze_prompts(model: nn.Module) -> None:
    """Let the prompts of a model, and what is tuned beside them, keep their values in training."""
    for name in prompt_names(model):
        model.get_parameter(name).requires_grad_(False)


def prompt_names(model: nn.Module) -> list[str]:
    """Return the parameters of prompted networks but those of their ViT."""
    prefixes = [f"{name}." if name else "" for name, _ in prompted_networks(model)]
    return [
        name
        for name, _ in model.named_parameters()
        if any(name.startswith(p) and not name.startswith(f"{p}vit.") for p in prefixes)
    ]


def fit_state(
    state: dict[str, Tensor],
    model: nn.Module,
    own: dict[str, Tensor],
    names: tuple[Sequence[str] | None, Sequence[str] | None],
    start: Start,
    path: str,
) -> StartReport:
    """Make the state of a checkpoint fit a model, in place.

    What neither fits nor is one of the parts that may differ stays as it is, to be refused.

    Args:
        state: of the checkpoint.
        model: to start.
        own: its trained part.
        names: of the classes of the checkpoint and of the model, None where they are not known.
        start: what to take.
        path: of the checkpoint, for errors.

    Raises:
        InputError: the classes differ, and must not; or there are no prompts to be frozen.
    """
    report = StartReport()
    _fit_prompts(state, model, own, start, report, path)
    for part in _PARTS:
        _fit_part(part, state, own, report)
    for key in [key for key in state if key.endswith(_OF_DATA)]:
        state.pop(key)
    state.update({key: value for key, value in own.items() if key.endswith(_OF_DATA)})
    in_both = {key for key in own if key in state and state[key] is not own[key]}
    layers = [key for key in class_layers(model) if key in in_both]
    stored, expected = names
    if stored is None and _has_rows_of_coco(layers, state):
        stored = _COCO
    if start.classes == "strict" and stored and expected and list(stored) != list(expected):
        theirs, ours = shorten(list(stored)), shorten(list(expected))
        raise InputError(
            f"'{path}' was trained with {len(stored)} classes ({theirs}), here are {len(expected)} "
            f"({ours}); set train.init_classes=match to start from it."
        )
    _fit_classes(state, own, layers, (stored, expected), start, report)
    copied_rows = set(report.class_layers) if report.copied else set()
    report.loaded = [k for k in own if k in state and (state[k] is not own[k] or k in copied_rows)]
    report.own = [k for k in own if state.get(k) is own[k]]
    return report


def _fit_prompts(
    state: dict[str, Tensor],
    model: nn.Module,
    own: dict[str, Tensor],
    start: Start,
    report: StartReport,
    path: str,
) -> None:
    prompts = {name for name in prompt_names(model) if name in own}
    prefixes = tuple(f"{name}." if name else "" for name, _ in prompted_networks(model))
    in_file = [
        key
        for key in state
        if any(key.startswith(p) and not key.startswith(f"{p}vit.") for p in prefixes)
    ]
    if prompts and not in_file and start.prompts == "frozen":
        raise InputError(
            f"train.init_prompts=frozen, but '{path}' holds no prompts that could stay as they "
            "are; set train.init_prompts=new to train those of this model."
        )
    if start.prompts == "new" or (prompts and not in_file):
        for key in in_file:
            state.pop(key)
        state.update({key: own[key] for key in prompts})
        report.has_new_prompts = bool(prompts)


def _fit_part(
    part: str, state: dict[str, Tensor], own: dict[str, Tensor], report: StartReport
) -> None:
    """Let one of two models lack a part."""
    theirs = [key for key in state if key.startswith(part)]
    ours = [key for key in own if key.startswith(part)]
    if theirs and not ours:
        report.dropped += theirs
        for key in theirs:
            state.pop(key)
    elif ours and not theirs:
        state.update({key: own[key] for key in ours})


def class_layers(model: nn.Module) -> list[str]:
    """Return the weights that have rows for each class: of Detectron2's heads, and classifiers'."""
    keys = []
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        layers: Sequence[str] = ()
        if isinstance(module, FastRCNNOutputLayers):
            layers = ("cls_score", "bbox_pred")
        elif isinstance(module, BaseMaskRCNNHead):
            layers = ("predictor",)
        elif isinstance(module, HasClassLayers):
            layers = module.class_layers
        keys += [f"{prefix}{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    return keys


def _has_rows_of_coco(layers: Sequence[str], state: dict[str, Tensor]) -> bool:
    """Return whether a file without class names has as many rows as one of COCO."""
    rows = {len(state[key]) for key in layers}
    return bool(rows & {len(_COCO) + 1}) and rows <= {80, 81, 320, 4}


def _fit_classes(
    state: dict[str, Tensor],
    own: dict[str, Tensor],
    layers: Sequence[str],
    names: tuple[Sequence[str] | None, Sequence[str] | None],
    start: Start,
    report: StartReport,
) -> None:
    stored, expected = names
    report.known = bool(stored) and bool(expected)
    stored, expected = stored or (), expected or ()
    are_same = report.known and list(stored) == list(expected)
    if start.classes != "new" and (are_same or (not report.known and _all_fit(state, own, layers))):
        report.copied = list(expected) if report.known else []
        return
    common = [] if start.classes == "new" else [name for name in expected if name in stored]
    rows = {expected.index(name): stored.index(name) for name in common}
    for key in layers:
        count = _rows_per_class(key, own[key], expected)
        if count is None and own[key].shape == state[key].shape:
            continue  # one for all classes, as of boxes
        theirs = state[key] if _rows_per_class(key, state[key], stored) == count else None
        state[key] = _take_rows(own[key], theirs, rows, count, (len(expected), len(stored)))
        report.class_layers.append(key)
    report.copied, report.new = common, [name for name in expected if name not in common]


def _all_fit(state: dict[str, Tensor], own: dict[str, Tensor], layers: Sequence[str]) -> bool:
    return all(state[key].shape == own[key].shape for key in layers)


def _rows_per_class(key: str, weight: Tensor, names: Sequence[str]) -> int | None:
    """Return 1, or 4 of boxes, where a weight has so many rows for each class, else None."""
    count = len(names)
    if f".{key}".rpartition(".")[0].endswith(".bbox_pred"):  # 4 rows alone are of all classes
        return 4 if count > 1 and len(weight) == 4 * count else None
    return 1 if count and len(weight) in (count, count + 1) else None


def _take_rows(
    own: Tensor,
    theirs: Tensor | None,
    rows: dict[int, int],
    count: int | None,
    totals: tuple[int, int],
) -> Tensor:
    """Return a model's own weight with rows of another in it.

    Args:
        own: of the model.
        theirs: of the file; None: nothing is taken.
        rows: row of the file by row of the model, by class.
        count: rows of a class.
        totals: number of classes of model and file; one row more is of the background.
    """
    if theirs is None or count is None or own.shape[1:] != theirs.shape[1:] or not rows:
        return own
    taken = own.detach().clone()
    pairs = [(n * count + i, o * count + i) for n, o in rows.items() for i in range(count)]
    if len(own) == totals[0] + 1 and len(theirs) == totals[1] + 1 and count == 1:
        pairs.append((totals[0], totals[1]))
    new, old = (torch.tensor(side) for side in zip(*pairs, strict=True))
    taken[new] = theirs[old].to(device=own.device, dtype=own.dtype)
    return taken


def log_report(report: StartReport, path: str, start: Start) -> None:
    """Log what a run starts from, in five lines."""
    classes = "names unknown" if not report.known else shorten(report.copied, 8) or "none"
    prompts = "new" if report.has_new_prompts else start.prompts.replace("keep", "loaded")
    lines = [
        f"starting from '{path}' (train.init_classes={start.classes})",
        f"loaded: {len(report.loaded)} of {len(report.loaded) + len(report.own)} trained tensors",
        f"classes known by name, whose rows are loaded: {len(report.copied)} ({classes})",
        f"new classes: {len(report.new)} ({shorten(report.new, 8) or 'none'}); prompts: {prompts}",
        f"left out of the file: {shorten(_parts_of(report.dropped)) or 'nothing'}",
    ]
    logger.info("%s", "\n    ".join(lines))


def _parts_of(keys: Sequence[str]) -> list[str]:
    """Return the parts of a model that keys belong to, two levels deep."""
    return list(dict.fromkeys(".".join(key.split(".")[:2]) for key in keys))
