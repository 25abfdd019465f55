"""Analyzed evaluation: predictions and objects of one evaluation, and what is known of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .analysis import (
    SIZES,
    BestF1,
    count_errors,
    error_costs,
    find_best_f1,
    precision_curves,
)
from .matching import CORRECT, IGNORED, KINDS, Matches
from .packed_results import PackedResults


@dataclass
class AnalyzedEvaluation:
    """What is written about one evaluation.

    Args:
        task: ``bbox`` or ``segm``: what IoUs are of.
        matches: of all predictions.
        objects: annotations that ``matches`` counts, in its order.
        results: predictions, in its order.
        class_names: by class index.
        average_precision: AP in percent by class index, over IoUs from 0.5 to 0.95.
        files: file of each image that was run, by its number.
    """

    task: str
    matches: Matches
    objects: list[dict]
    results: PackedResults
    class_names: Sequence[str]
    average_precision: Mapping[int, float] = field(default_factory=dict)
    files: Mapping[int, str | None] = field(default_factory=dict)

    @cached_property
    def best(self) -> BestF1:
        """Largest F1 of all classes together."""
        return best_f1(self.matches)

    @property
    def threshold(self) -> float:
        """Score above which predictions are counted as errors and drawn: that of `best`."""
        return self.best.threshold or 0.0

    @cached_property
    def above(self) -> Matches:
        """Matches of the predictions above the threshold."""
        return self.matches.above(self.threshold)

    def to_json(self) -> dict[str, Any]:
        """Return the content of analysis.json; numbers in percent, counts at the threshold."""
        curves = precision_curves(self.matches)
        costs = error_costs(self.matches)
        by_size = count_errors(self.above, "size")
        return {
            "task": self.task,
            "iou": 0.5,
            "F1": self.best.f1,
            "precision": self.best.precision,
            "recall": self.best.recall,
            "score_threshold": self.best.threshold,
            "num_images": len(self.files),
            "num_objects": len(self.objects),
            "num_predictions": int((self.above.kinds != IGNORED).sum()),
            "false_positives": int((self.above.kinds >= 0).sum()),
            "false_negatives": int((self.above.matched_by < 0).sum()),
            "errors": {
                name: {
                    "cost": costs[name],
                    "count": int(by_size[:, kind].sum()),
                    **dict(zip(SIZES, by_size[:, kind].tolist(), strict=True)),
                }
                for kind, name in enumerate(KINDS)
            },
            "costs": {name: costs[name] for name in ("false_positives", "false_negatives")},
            "classes": [self._class_row(index, curves[index]) for index in self._shown_classes()],
        }

    def _shown_classes(self) -> list[int]:
        """Return the classes that are annotated or predicted."""
        predicted = np.bincount(self.matches.classes, minlength=self.matches.num_classes)
        return np.flatnonzero((self.matches.num_objects > 0) | (predicted > 0)).tolist()

    def _class_row(self, index: int, curve: np.ndarray) -> dict[str, Any]:
        above, num_objects = self.above, int(self.matches.num_objects[index])
        best = best_f1(self.matches, index)
        is_own = above.classes == index
        found = int((above.kinds[is_own] == CORRECT).sum())
        counted = int((above.kinds[is_own] != IGNORED).sum())
        ap = self.average_precision.get(index, math.nan)
        return {
            "class": self.class_names[index],
            "objects": num_objects,
            "AP": None if math.isnan(ap) else ap,
            "AP50": float(100 * curve.mean()) if num_objects else None,
            "precision": 100 * found / counted if counted else None,
            "recall": 100 * found / num_objects if num_objects else None,
            "F1": best.f1 if num_objects else None,
            "F1_threshold": best.threshold,
            "false_positives": counted - found,
            **dict(zip(KINDS, self._errors_by_class[index].tolist(), strict=True)),
        }

    @cached_property
    def _errors_by_class(self) -> np.ndarray:
        return count_errors(self.above, "class")


def best_f1(matches: Matches, class_index: int | None = None) -> BestF1:
    """Return `find_best_f1` of one class, or of all together."""
    counts = matches.kinds != IGNORED
    num_objects = len(matches.object_classes)
    if class_index is not None:
        counts &= matches.classes == class_index
        num_objects = int(matches.num_objects[class_index])
    return find_best_f1(matches.scores[counts], matches.kinds[counts] == CORRECT, num_objects)
