"""Experiment trackers: TensorBoard, Weights & Biases, MLflow, each through its own library.

A tracker that fails is left out for the rest of the run, with a warning; the run goes on. Where the
data go is set as each library has it: WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI and so on.
"""

import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from bpt_det.utils.errors import InputError
from bpt_det.utils.extras import require_extra

logger = logging.getLogger(__name__)

_PROJECT = "bpt_det"
_NO_NAME = re.compile(r"[^\w\-. /]", re.ASCII)  # what MLflow allows in no name of a metric

Picture = tuple[str, Tensor, int]  # name, (3, H, W) uint8, iteration


class Tracker(Protocol):
    """A place that metrics and pictures of a run go to."""

    name: str

    def open(self, first: int) -> None:
        """Begin; what an earlier part of the run has written from an iteration on is repeated."""

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        """Write the metrics of an iteration."""

    def draw(self, name: str, picture: np.ndarray, iteration: int) -> None:
        """Write a picture, RGB (H, W, 3), uint8."""

    def flush(self) -> None:
        """Write out what is still held, so that a killed run has it too."""

    def close(self) -> None:
        """End."""


class TensorBoardTracker:
    """TensorBoard's events, in a new file for each part of a resumed run."""

    name = "TensorBoard"

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder

    def open(self, first: int) -> None:
        """Begin a file that replaces the events of earlier ones from an iteration on."""
        self._writer = SummaryWriter(str(self.folder), purge_step=first)

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)

    def draw(self, name: str, picture: np.ndarray, iteration: int) -> None:
        self._writer.add_image(name, picture, iteration, dataformats="HWC")

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandbTracker:
    """A run of Weights & Biases; the parts of a resumed run are runs of one group."""

    name = "Weights & Biases"

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = settings

    def open(self, first: int) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            dir=str(self.folder),
            name=os.environ.get("WANDB_NAME", self.folder.name),
            group=os.environ.get("WANDB_RUN_GROUP", self.folder.name),
            config=dict(self.settings),
            settings=wandb.Settings(console="off"),
        )

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        self._run.log(dict(values), step=iteration)

    def draw(self, name: str, picture: np.ndarray, iteration: int) -> None:
        import wandb

        self._run.log({name: wandb.Image(picture)}, step=iteration)

    def flush(self) -> None:
        """It writes by itself."""

    def close(self) -> None:
        self._run.finish()


class MlflowTracker:
    """A run of MLflow, in the experiment that MLFLOW_EXPERIMENT_NAME names or else in bpt_det."""

    name = "MLflow"

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = settings

    def open(self, first: int) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        found = self._client.get_experiment_by_name(experiment)
        number = (
            self._client.create_experiment(experiment) if found is None else found.experiment_id
        )
        self._run_id = self._client.create_run(number, run_name=self.folder.name).info.run_id
        self._client.log_dict(self._run_id, dict(self.settings), "settings.json")

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._client.log_metric(
                    self._run_id, _NO_NAME.sub("_", name), value, step=iteration
                )

    def draw(self, name: str, picture: np.ndarray, iteration: int) -> None:
        file = f"pictures/{_NO_NAME.sub('_', name)}-{iteration}.png"
        self._client.log_image(self._run_id, Image.fromarray(picture), file)

    def flush(self) -> None:
        """It writes at once."""

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


_KINDS: dict[str, tuple[str, Callable[..., Tracker]]] = {  # package, and what to call
    "tensorboard": ("tensorboard", TensorBoardTracker),
    "wandb": ("wandb", WandbTracker),
    "mlflow": ("mlflow", MlflowTracker),
}


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and their libraries installed.

    Raises:
        InputError: one is not, or they are no list.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InputError(
            f"trackers must be a list such as [tensorboard,wandb], got {names!r}.",
            parameter="trackers",
        )
    for name in names:
        if name not in _KINDS:
            raise InputError(
                f"trackers must be out of {', '.join(_KINDS)}, got {name!r}.", parameter="trackers"
            )
        require_extra(_KINDS[name][0], "trackers", f"runs that are tracked by {name}")


class Trackers:
    """Several trackers; each that fails is left out from then on.

    Args:
        names: out of tensorboard, wandb, mlflow.
        folder: of the run.
        settings: of the run's config, by their keys.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        kinds = [_KINDS[name][1] for name in names]
        self._trackers: list[Tracker] = [kind(folder, settings or {}) for kind in kinds]

    def open(self, first: int) -> None:
        """Begin, or go on from an iteration."""
        self._each(lambda tracker: tracker.open(first))

    def write(self, records: Sequence[Mapping[str, float]], pictures: Sequence[Picture]) -> None:
        """Write records of metrics, each with its ``iteration``, and pictures."""
        self._each(lambda tracker: _write(tracker, records, pictures))

    def close(self) -> None:
        """End all."""
        self._each(lambda tracker: tracker.close())

    def _each(self, call: Callable[[Tracker], Any]) -> None:
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # whatever its library has met
                text = "%s gets no further metrics (%s: %s); training goes on"
                logger.warning(text, tracker.name, type(error).__name__, error)
                self._trackers.remove(tracker)


def _write(
    tracker: Tracker, records: Sequence[Mapping[str, float]], pictures: Sequence[Picture]
) -> None:
    by_iteration: dict[int, list[Picture]] = {}
    for drawn in pictures:
        by_iteration.setdefault(drawn[2], []).append(drawn)
    values = {int(record["iteration"]): record for record in records}
    for iteration in sorted({*values, *by_iteration}):  # some trackers take them in order alone
        numbers = {k: v for k, v in values.get(iteration, {}).items() if k != "iteration"}
        if numbers:
            tracker.write(numbers, iteration)
        for name, picture, _ in by_iteration.get(iteration, []):
            tracker.draw(name, picture.permute(1, 2, 0).numpy(), iteration)
    tracker.flush()
