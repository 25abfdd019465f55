"""Event storage: the latest values of each scalar, in bounded memory and part of a checkpoint."""

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

from detectron2.utils.events import EventStorage
from fvcore.common.history_buffer import HistoryBuffer

WINDOW = 20  # iterations that losses are smoothed over in metrics.json
MAX_VALUES = 1000  # of each scalar; the remaining time is estimated from them
# Of the machine and not of the run, so checkpoints leave them out.
TIMES = ("time", "data_time", "eta_seconds", "rank_data_time")


class RunStorage(EventStorage):
    """Detectron2's `EventStorage`, which keeps the last 1,000 values of a scalar, not a million.

    Its state is what the values that are written next depend on. A resumed run so writes the
    smoothed losses of an uninterrupted one.
    """

    def __init__(self, start_iter: int = 0) -> None:
        super().__init__(start_iter)
        self._history: defaultdict[str, HistoryBuffer] = defaultdict(
            partial(HistoryBuffer, max_length=MAX_VALUES)
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the values of the smoothing window by the names of the scalars."""
        return {
            name: {
                "values": history.values()[-WINDOW:] if self._smoothing_hints[name] else [],
                "latest": self._latest_scalars[name],
                "is_smoothed": self._smoothing_hints[name],
            }
            for name, history in self._history.items()
            if name not in TIMES and name in self._latest_scalars
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name, state in state_dict.items():
            value, iteration = state["latest"]
            for earlier in state["values"] or [(value, iteration)]:
                self._history[name].update(*earlier)
            self._latest_scalars[name] = (value, iteration)
            self._smoothing_hints[name] = state["is_smoothed"]
