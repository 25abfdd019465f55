"""Run result: status, metrics, counts and versions of a run as result.json, for programs to read.

Each status has an exit status, which the command line ends with: see `EXIT_STATUS`.
"""

import hashlib
import json
import math
import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.compat import name_of_target
from bpt_det.utils.errors import (
    EXIT_BAD_INPUT,
    EXIT_STATUS,
    InputError,
    one_line,
    status_of_exit,
)
from bpt_det.utils.limits import Limit
from bpt_det.version import __version__

from .processes import PeerError
from .stopping import RunStopped

RESULT_NAME = "result.json"
_BYTES = Limit("BPT_DET_MAX_RESULT_BYTES", 10_000_000, "bytes")
_PACKAGES = ("detectron2", "torch", "torchvision", "timm", "numpy")

Metrics = dict[str, float | None]  # by name such as bbox/AP; None: NaN or infinite


class DivergenceError(InputError):
    """A loss, a gradient or a weight became NaN or infinite."""


@dataclass
class RunResult:
    """What is known of a run.

    Attributes:
        status: a key of `EXIT_STATUS`; ``running`` from the start on.
        error: text of the error that ended the run, or None.
        metrics: of the ``last`` evaluation, of the ``best`` one by the run's best metric, and of
            the ``final`` test; empty where there was none.
        best_metric: name of the metric that decides which evaluation is the best one, or None.
        best_iteration: of that evaluation.
        evaluated_after: iterations that the last evaluation came after, or None.
        iterations: finished ones, earlier parts of a resumed run included.
        max_iter: iterations of the whole run; None: no training.
        seconds: from the first iteration to the end, evaluations included, summed over all parts.
        iteration_seconds: median of the last 1,000 iterations of the last part; None: too few.
        trained_parameters: number of values that are trained.
        frozen_parameters: number of values that are not.
        command: the command line.
        started: when the first part began, in UTC as in ISO 8601.
        config_hash: of the settings without `train.output_dir`.
        versions: of the packages that decide about the results.
    """

    status: str = "running"
    error: str | None = None
    metrics: dict[str, Metrics] = field(
        default_factory=lambda: {"last": {}, "best": {}, "final": {}}
    )
    best_metric: str | None = None
    best_iteration: int | None = None
    evaluated_after: int | None = None
    iterations: int = 0
    max_iter: int | None = None
    seconds: float = 0.0
    iteration_seconds: float | None = None
    trained_parameters: int | None = None
    frozen_parameters: int | None = None
    command: list[str] = field(default_factory=list)
    started: str = ""
    config_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, folder: str | Path) -> None:
        """Write ``<folder>/result.json``, atomically.

        Raises:
            InputError: it cannot be written.
        """
        text = json.dumps(_without_nan(asdict(self)), indent=2, allow_nan=False)
        with atomic_write(Path(folder) / RESULT_NAME) as partial:
            partial.write_text(text + "\n")


def read_result(folder: str | Path) -> RunResult:
    """Return what `RunResult.write` has written into the folder of a run.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    path = Path(folder) / RESULT_NAME
    if not path.is_file():
        raise InputError(f"'{folder}' holds no {RESULT_NAME}, so no run has begun there.")
    try:
        _BYTES.check(path.stat().st_size, f"'{path}'")
        result = RunResult(**json.loads(path.read_text()))
        is_complete = result.status in [*EXIT_STATUS] and _are_metrics(result.metrics)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"'{path}' is damaged ({one_line(error)[:200]}); delete it.") from error
    if not is_complete:
        raise InputError(f"'{path}' is damaged (status {result.status!r}); delete it.")
    return result


def _are_metrics(metrics: Any) -> bool:
    """Return whether these are numbers by their names, for each of an evaluation's kinds."""
    return (
        isinstance(metrics, dict)
        and set(metrics) >= {"last", "best", "final"}
        and all(isinstance(named, dict) for named in metrics.values())
        and all(
            v is None or isinstance(v, int | float) for m in metrics.values() for v in m.values()
        )
    )


def status_of(error: BaseException | None, *, is_stopped: bool = False) -> str:
    """Return the status of a run that ended with an error, or without one."""
    if error is None:
        return "stopped_early" if is_stopped else "finished"
    if isinstance(error, RunStopped):
        return error.status
    if was_interrupted(error):
        return "interrupted"
    if isinstance(error, PeerError):
        return error.status
    return "diverged" if isinstance(error, DivergenceError) else "failed"


def was_interrupted(error: BaseException | None) -> bool:
    """Return whether an error is Ctrl-C, or one that code raised while it ended because of it.

    A checkpoint that is half written ends in an error of its own, for example.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def exit_status_of(error: BaseException) -> int:
    """Return the exit status of a command that ended with an error."""
    status = status_of(error)
    if isinstance(error, PeerError):
        return error.exit_status
    if status == "failed" and isinstance(error, InputError):
        return EXIT_BAD_INPUT
    return EXIT_STATUS[status]


def end_killed_run(folder: str | Path, exit_status: int, reason: str | None = None) -> None:
    """Write how a run ended whose main process was killed, because another of its processes failed.

    Does nothing where the main process has written it, or has not begun.

    Args:
        folder: of the run.
        exit_status: of the process that failed.
        reason: why it did, if that is known.
    """
    if not (Path(folder) / RESULT_NAME).is_file():
        return
    result = read_result(folder)
    if result.status != "running":
        return
    result.status = status_of_exit(exit_status)
    result.error = reason or f"one of the processes ended with status {exit_status}; see the log"
    result.write(folder)


def hash_config(cfg: DictConfig) -> str:
    """Return a hash of the settings of a config, all but `train.output_dir`."""
    content: Any = OmegaConf.to_container(cfg, resolve=False)
    content["train"]["output_dir"] = None
    text = json.dumps(content, sort_keys=True, default=name_of_target)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def list_settings(cfg: DictConfig) -> dict[str, str]:
    """Return the settings that `hash_config` hashes as texts, by their keys."""
    settings: dict[str, str] = {}

    def add(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                add(f"{key}.{name}" if key else str(name), item)
        else:
            settings[key] = json.dumps(value, default=name_of_target)

    add("", OmegaConf.to_container(cfg, resolve=False))
    settings.pop("train.output_dir", None)
    return settings


def find_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide about a run's results."""
    versions = {"bpt_det": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _without_nan(value: Any) -> Any:
    """Return nested data with None in place of numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
