"""Which evaluated metric decides about the best checkpoint and about stopping early."""

import math
from dataclasses import dataclass

from detectron2.utils.events import EventStorage

from bpt_det.utils.errors import InputError

_WORST = {"max": -math.inf, "min": math.inf}


@dataclass(frozen=True)
class BestMetric:
    """A metric by its name in the event storage, and whether its highest or lowest value is best.

    Raises:
        InputError: the mode is neither ``max`` nor ``min``.
    """

    name: str
    mode: str = "max"

    def __post_init__(self) -> None:
        if self.mode not in _WORST:
            raise InputError(f"train.best_metric_mode must be max or min, got '{self.mode}'.")

    @property
    def worst(self) -> float:
        """The value that every number improves on."""
        return _WORST[self.mode]

    def is_better(self, value: float, best: float) -> bool:
        """Say whether a value improves on the best so far; NaN never does."""
        return value > best if self.mode == "max" else value < best


def evaluated_metrics(storage: EventStorage) -> list[str]:
    """Return the names of the metrics that evaluations have put into an event storage.

    They are those of a task (``bbox/AP``) whose values are not smoothed over iterations.
    """
    is_smoothed = storage.smoothing_hints()
    return sorted(name for name in storage.latest() if "/" in name and not is_smoothed[name])
