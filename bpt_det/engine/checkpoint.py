"""Checkpoints: what was trained, tied to the frozen network that it was trained on."""

import logging
import re
import zipfile
import zlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import IO, Any, cast

import torch
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch import Tensor, nn

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError, one_line, shorten
from bpt_det.vit.weights.files import check_weights, read_weights

from .ema import EMA, EMA_SUFFIX
from .model_state import (
    as_in,
    check_class_names,
    check_fit,
    check_frozen_networks,
    check_settings,
    frozen_fingerprints,
    prompted_vits,
    settings_of,
    trained_state,
)
from .result import DivergenceError
from .starting import Start, StartReport, fit_state, log_report
from .task_file import checkpoint_keys

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "last_checkpoint"  # file that names the checkpoint to resume from
BEST_NAME, FINAL_NAME = "model_best", "model_final"
CLASS_NAMES, SETTINGS, TRAINER = "class_names", "settings", "trainer"  # keys of a file
CATEGORY_IDS = "category_ids"
_DROPPED = "dropped"  # what a file of Detectron2's holds that a model has no place for
_HINT = "Give the path of a model_*.pth that a training run has written."
_PUBLISHED = "docs/how_to/coco.md has the address of Detectron2's published model."
_SIGNS_OF_DAMAGE = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError)
_BUFFERS = re.compile(r"pixel_(mean|std)$|anchor_generator\.cell_anchors\.")  # the config has these


class FrozenAwareCheckpointer(Checkpointer):
    """Checkpointer of the trained part of a model, with a fingerprint of each frozen ViT in it.

    Writes are atomic, so an interruption leaves the earlier file. Files are read with
    ``weights_only=True``, and refused unless they fit the model exactly. A model without prompts,
    such as ViTDet's, takes files of Detectron2 as well.

    Args:
        model: holds any number of `PromptedNetwork`, whose ``vit`` is left out of the file unless
            it is trained too.
        save_dir: folder of the files.
        class_names: names of the model's classes; stored in every file.
        category_ids: ids of the classes in the dataset; stored too.
        is_resumed: whether a file of other class names is refused, not only warned of.
        start: what training takes of the file that it starts from; None: all, and all must fit.
        checkpointables: further objects with ``state_dict``, such as the trainer.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        class_names: Sequence[str] | None = None,
        category_ids: Sequence[Hashable] | None = None,
        is_resumed: bool = False,
        start: Start | None = None,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, save_to_disk=comm.is_main_process(), **checkpointables)
        self.class_names = None if class_names is None else list(class_names)
        self.category_ids = None if category_ids is None else list(category_ids)
        self.is_resumed = is_resumed
        self.start = start
        self.report: StartReport | None = None  # of the file that was started from

    def save(self, name: str, *, is_last: bool = True, **extra: Any) -> None:
        """Write ``<save_dir>/<name>.pth``.

        Args:
            name: file name without its suffix.
            is_last: whether a resumed run continues from this file.
            extra: further plain data to store.

        Raises:
            DivergenceError: a weight is NaN or infinite; the earlier file is kept.
            InputError: the file cannot be written; the earlier one is kept.
        """
        if self.save_dir and self.save_to_disk:
            self.write(name, self.content(name, **extra), is_last=is_last)

    def content(self, name: str, **extra: Any) -> dict[str, Any]:
        """Return what `save` writes, which shares its tensors with the model and the trainer.

        Raises:
            DivergenceError: a weight is NaN or infinite.
        """
        trained = trained_state(self.model)
        broken = [key for key, value in trained.items() if not torch.isfinite(value).all()]
        if broken:
            raise DivergenceError(
                f"{shorten(broken)} became NaN or infinite; checkpoint '{name}' was not written "
                "and the last good one was kept: go on from it with a lower optimizer.lr.",
                hint="resume",
            )
        content = {
            "model": trained,
            "frozen": frozen_fingerprints(self.model),
            CLASS_NAMES: self.class_names,
            CATEGORY_IDS: self.category_ids,
            SETTINGS: settings_of(self.model),
            **extra,
        }
        states = {key: value.state_dict() for key, value in self.checkpointables.items()}
        return {**content, **states}

    def write(self, name: str, content: dict[str, Any], *, is_last: bool) -> None:
        """Write a content as ``<save_dir>/<name>.pth``; see `save`.

        Raises:
            InputError: it cannot be written; the earlier file is kept.
        """
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        _write(path, content)
        if is_last:
            _write(Path(self.save_dir) / LAST_CHECKPOINT, path.name)

    def resume(self, path: Path) -> None:
        """Load a checkpoint of the run in ``save_dir``, with all that training depends on."""
        self.is_resumed = True
        self.load(str(path))

    def load(
        self,
        path: str,
        checkpointables: list[str] | None = None,
        *,
        content: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Load a file into the model and the named checkpointables (None: all).

        Args:
            path: of the file.
            checkpointables: names.
            content: what `read_checkpoint` has returned of it; None reads it.

        Raises:
            InputError: the file is missing or damaged, is of another model or frozen ViT, or lacks
                averages (EMA) that are to be loaded.
        """
        if not path:
            return {}
        self.logger.info("Loading %s", path)
        checkpoint = read_checkpoint(path) if content is None else dict(content)
        if "frozen" not in checkpoint:
            is_start = self.start is not None
            checkpoint = _adopt_detectron2(checkpoint, self.model, path, is_start=is_start)
        check_frozen_networks(checkpoint, self.model, path)
        is_tuned_anew = self.start is not None and self.start.prompts == "new"
        settings = settings_of(self.model, is_tuned_anew=is_tuned_anew)
        check_settings(checkpoint.get(SETTINGS), settings, path)
        names = list(self.checkpointables) if checkpointables is None else checkpointables
        if not self.is_resumed and EMA not in names:
            _use_averages(checkpoint, path)
        stored = checkpoint.get(CLASS_NAMES)
        state = checkpoint["model"]
        if self.start is not None:
            own = trained_state(self.model)
            both = (stored, self.class_names)
            self.report = fit_state(state, self.model, own, both, self.start, path)
            self.report.dropped += checkpoint.get(_DROPPED, [])
        check_fit(state, self.model, path)
        if self.start is None:
            check_class_names(stored, self.class_names, path, self.is_resumed)
        if EMA in names and EMA not in checkpoint:
            raise InputError(
                f"'{path}' holds no averages of weights (ema), as its run kept none; set "
                "train.ema.decay=null."
            )
        if self.start is not None and self.report is not None:
            log_report(self.report, path, self.start)
        self.model.load_state_dict(as_in(self.model, checkpoint.pop("model")), strict=False)
        for key in names:
            if key in checkpoint:
                self._restore(key, checkpoint.pop(key), path)
        return checkpoint

    def _restore(self, key: str, state: Any, path: str) -> None:
        try:
            self.checkpointables[key].load_state_dict(state)
        except InputError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"'{path}' does not hold the state of this {key} ({one_line(error)[:200]}); "
                "continue with the config of its run, or start from its weights alone with "
                "train.init_checkpoint and a new train.output_dir."
            ) from error


def stored_classes(
    content: dict[str, Any],
) -> tuple[list[str] | None, list[Hashable] | None]:
    """Return names and category ids of the classes in what `read_checkpoint` returns, or None."""
    return content.get(CLASS_NAMES), content.get(CATEGORY_IDS)


def read_resumable(path: str | Path) -> int:
    """Return the iteration of a checkpoint that a run can go on from.

    Raises:
        InputError: the file is missing or damaged, or holds no state of a run.
    """
    state = read_checkpoint(str(path)).get(TRAINER)
    state = state if isinstance(state, dict) else {}
    iteration = state.get("iteration")
    if not isinstance(iteration, int) or not isinstance(state.get("optimizer"), dict):
        raise InputError(
            f"'{path}' holds no state of a run ({TRAINER}), only weights; start from them with "
            "train.init_checkpoint and a new train.output_dir."
        )
    return iteration


def read_checkpoint(path: str) -> dict[str, Any]:
    """Return the content of a checkpoint, which holds a state_dict under ``model``.

    Raises:
        InputError: the file is missing or damaged, or is not a checkpoint.
    """
    hint = _PUBLISHED if Path(path).suffix == ".pkl" else _HINT
    _check_sums(path)
    checkpoint = read_weights(path, source=hint)
    if (keys := checkpoint_keys(path)) is not None:
        checkpoint = {"model": checkpoint, **keys}
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise InputError(f"'{path}' is not a checkpoint of this project. {_HINT}")
    if "frozen" in checkpoint:
        _check_contents(checkpoint, path)
    return checkpoint


def _check_contents(checkpoint: dict[str, Any], path: str) -> None:
    """Check the types of what a file of `FrozenAwareCheckpointer` holds."""
    state, averages = checkpoint["model"], checkpoint.get(EMA, {})
    names, ids = checkpoint.get(CLASS_NAMES), checkpoint.get(CATEGORY_IDS)
    are_right = {
        "model": _are_tensors(state),
        "frozen": isinstance(checkpoint["frozen"], dict),
        CLASS_NAMES: names is None
        or (isinstance(names, list) and all(isinstance(name, str) for name in names)),
        CATEGORY_IDS: ids is None
        or (isinstance(ids, list) and all(isinstance(key, int | str) for key in ids)),
        SETTINGS: isinstance(checkpoint.get(SETTINGS, {}), dict),
        EMA: isinstance(averages, dict) and _are_tensors(averages),
    }
    wrong = [key for key, is_right in are_right.items() if not is_right]
    if wrong:
        raise InputError(
            f"'{path}' is not a checkpoint of this project: its {', '.join(wrong)} are something "
            f"else. {_HINT}"
        )
    check_weights(averages, path)


def _are_tensors(state: dict) -> bool:
    return all(isinstance(n, str) and isinstance(value, Tensor) for n, value in state.items())


def _check_sums(path: str) -> None:
    """Check the CRC-32 of each tensor in a file of ``torch.save``, which torch does not look at."""
    if not zipfile.is_zipfile(path):  # an older format without sums, or no file
        return
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (OSError, *_SIGNS_OF_DAMAGE) as error:
        damaged = one_line(error)
    if damaged is not None:
        raise InputError(
            f"'{path}' is damaged: the checksum of '{damaged}' in it is another one; delete it, "
            "and save or copy it again."
        )


def _adopt_detectron2(
    checkpoint: dict[str, Any], model: nn.Module, path: str, *, is_start: bool = False
) -> dict[str, Any]:
    """Convert the content of a file of Detectron2's, which holds no prompts and no frozen ViT.

    A prompted model may start from its pyramid and heads; the ViT stays its own.
    """
    networks = [name for name, _ in prompted_vits(model)]
    if networks and not is_start:
        raise InputError(f"'{path}' is not a checkpoint of this project. {_HINT}")
    state = {k: v for k, v in checkpoint["model"].items() if isinstance(v, Tensor)}
    state = {k: v for k, v in state.items() if not _BUFFERS.search(k)}
    if not networks:
        return {"model": state, "frozen": {}}
    # Where the file has its ViT, this model has a backbone around another one.
    backbones = tuple(name.removesuffix(".prompted_vit.vit") + "." for name in networks)
    dropped = [key for key in state if key.startswith(backbones)]
    own = {
        k: v for k, v in trained_state(model).items() if ".vit." in k and k.startswith(backbones)
    }
    state = {k: v for k, v in state.items() if k not in dropped}
    frozen = frozen_fingerprints(model)
    return {"model": {**state, **own}, "frozen": frozen, _DROPPED: dropped}


def _use_averages(checkpoint: dict[str, Any], path: str) -> None:
    """Put the averages of weights in place of the weights, where the file was chosen by them."""
    best, averages = checkpoint.get("best"), checkpoint.get(EMA)
    metric = str(best.get("metric")) if isinstance(best, dict) else ""
    if averages and metric.partition("/")[0].endswith(EMA_SUFFIX):
        checkpoint["model"].update(averages)
        logger.info("'%s' was chosen by %s: the averages of its weights are used", path, metric)
    elif averages:
        logger.info("'%s' holds averages of weights (ema) too; they are not used", path)


def _write(path: Path, content: dict | str) -> None:
    with atomic_write(path) as partial, partial.open("wb") as file:
        if isinstance(content, str):
            file.write(content.encode())
            return
        keeping = _ErrorKeeping(file)
        try:
            torch.save(content, cast(IO[bytes], keeping))
        except RuntimeError as error:  # what torch makes of a full disk
            raise keeping.error or OSError(str(error)) from error


class _ErrorKeeping:
    """A file to write to that keeps the error of its last write, which torch replaces."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
