"""Analysis of a detector's predictions: AP50, best F1, confusions, and what errors cost.

Everything is of boxes, or of masks, at IoU 0.5; see `match_predictions`. Shape legend: K classes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .matching import CLASSIFICATION, CORRECT, IGNORED, KINDS, LOCALIZATION, MISSED, Matches

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, math.inf)}
_RECALLS = np.linspace(0, 1, 101)  # as COCO's metrics


@dataclass(frozen=True)
class BestF1:
    """The largest F1 over all score thresholds, and where it is.

    Args:
        threshold: predictions that score more count; between two scores. None without a match.
        f1, precision, recall: in percent.
    """

    threshold: float | None
    f1: float
    precision: float
    recall: float


def find_best_f1(scores: np.ndarray, is_correct: np.ndarray, num_objects: int) -> BestF1:
    """Return the largest F1 of predictions, with the highest threshold of those that reach it.

    Args:
        scores: (D,), in any order.
        is_correct: whether each prediction is matched with an object, (D,).
        num_objects: to find.
    """
    order = np.argsort(-scores, kind="stable")
    scores, is_correct = scores[order], is_correct[order]
    if not is_correct.any():
        return BestF1(None, 0.0, 0.0, 0.0)
    found, kept = np.cumsum(is_correct), np.arange(1, len(scores) + 1)
    f1 = 2 * found / (kept + num_objects)
    is_last = np.append(scores[1:] < scores[:-1], True)  # of its score: none can be left out alone
    best = int(np.where(is_last, f1, -1).argmax())
    lower = scores[best + 1] if best + 1 < len(scores) else 0.0
    return BestF1(
        threshold=float((scores[best] + lower) / 2),
        f1=float(100 * f1[best]),
        precision=float(100 * found[best] / kept[best]),
        recall=float(100 * found[best] / num_objects),
    )


def precision_curve(
    scores: np.ndarray, is_correct: np.ndarray, num_objects: int | float
) -> np.ndarray:
    """Return the precision at the recalls 0, 0.01 … 1, which COCO's AP is the mean of, (101,).

    At each recall it is the largest precision at this recall or a higher one, 0 where none is.
    """
    if num_objects <= 0 or not len(scores):
        return np.zeros_like(_RECALLS)
    found = np.cumsum(is_correct[np.argsort(-scores, kind="stable")])
    precision = found / np.arange(1, len(found) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(found / num_objects, _RECALLS, side="left")
    return np.append(precision, 0.0)[places]


def precision_curves(matches: Matches) -> np.ndarray:
    """Return `precision_curve` of each class, (K, 101); nan for a class without objects."""
    return _curves(_Points.of(matches))


def confusion_matrix(matches: Matches) -> np.ndarray:
    """Return how often objects of class i were taken for class j, int64 (K + 1, K + 1).

    The last row counts predictions without an object, duplicates among them; the last column
    objects that were not found. An object is taken for another class by the prediction of the
    highest score whose kind of error says so, unless a prediction of its own class is matched.
    """
    background = matches.num_classes
    counts = np.zeros((background + 1, background + 1), np.int64)
    taken_for = np.where(matches.matched_by >= 0, matches.object_classes, background)
    for prediction in np.argsort(-matches.scores, kind="stable"):
        kind, target = matches.kinds[prediction], matches.targets[prediction]
        if kind in (CORRECT, IGNORED):
            continue
        if kind == CLASSIFICATION and taken_for[target] == background:
            taken_for[target] = matches.classes[prediction]
        else:
            counts[background, matches.classes[prediction]] += 1
    np.add.at(counts, (matches.object_classes, taken_for), 1)
    return counts


def error_costs(matches: Matches) -> dict[str, float]:
    """Return by how much AP50 would rise, in percent, if the errors of one kind were corrected.

    An error of class or box becomes right, if its object is not matched and it has the highest
    score of those that err in that object; else it is removed, as other false positives are.
    Missed objects are removed. ``false_positives``: all score less than what is correct;
    ``false_negatives``: all objects that are not matched are removed.

    Source: arXiv:2008.08115, section 2.3, with the oracles of dbolya/tide@49a5d2a
    tidecv/errors/main_errors.py. Other than there, a prediction in a crowd region is never an
    error, and a class without objects is left out.
    """
    points = _Points.of(matches)
    ap = _mean_ap(points)
    costs = {}
    for kind, name in enumerate(KINDS):
        costs[name] = max(0.0, _mean_ap(_without(points, matches, kind)) - ap)
    perfect = points.changed(scores=points.is_correct.astype(np.float64))
    costs["false_positives"] = _mean_ap(perfect) - ap
    unmatched = matches.object_classes[matches.matched_by < 0]
    found = points.num_objects - np.bincount(unmatched, minlength=matches.num_classes)
    costs["false_negatives"] = _mean_ap(points.changed(num_objects=found)) - ap
    return costs


def count_errors(matches: Matches, by: str) -> np.ndarray:
    """Return the number of errors of each kind by ``class`` (K, 6) or by ``size`` (3, 6).

    Sizes are COCO's: areas under 32² and 96² square pixels and above. A false positive has the
    class and the area of its own box or mask, a missed object those of its annotation.
    """
    is_error = matches.kinds >= 0
    is_missed = matches.is_missed()
    if by == "class":
        groups, object_groups = matches.classes, matches.object_classes
        num_groups = matches.num_classes
    else:
        groups, object_groups = size_index(matches.areas), size_index(matches.object_areas)
        num_groups = len(SIZES)
    counts = np.zeros((num_groups, len(KINDS)), np.int64)
    np.add.at(counts, (groups[is_error], matches.kinds[is_error]), 1)
    counts[:, MISSED] = np.bincount(object_groups[is_missed], minlength=num_groups)
    return counts


def size_index(areas: np.ndarray) -> np.ndarray:
    """Return 0, 1, 2 for small, medium and large areas."""
    return np.searchsorted([low for low, _ in SIZES.values()][1:], areas, side="right")


def errors_by_image(matches: Matches) -> dict[int, tuple[int, int]]:
    """Return the number of false positives and of unmatched objects of each image with one."""
    counts: dict[int, list[int]] = {}
    for place, images in (
        (0, matches.images[matches.kinds >= 0]),
        (1, matches.object_images[matches.matched_by < 0]),
    ):
        for image in images.tolist():
            counts.setdefault(image, [0, 0])[place] += 1
    return {image: (wrong, unmatched) for image, (wrong, unmatched) in counts.items()}


@dataclass(frozen=True)
class _Points:
    """What AP is computed of: predictions that count, and the number of objects by class."""

    scores: np.ndarray
    classes: np.ndarray
    is_correct: np.ndarray
    num_objects: np.ndarray
    is_scored: np.ndarray  # (K,): whether there are objects of a class at all

    @classmethod
    def of(cls, matches: Matches) -> "_Points":
        counts = matches.kinds != IGNORED
        num_objects = matches.num_objects
        return cls(
            matches.scores[counts],
            matches.classes[counts],
            matches.kinds[counts] == CORRECT,
            num_objects,
            num_objects > 0,
        )

    def changed(self, **values: Any) -> "_Points":
        return _Points(**{**self.__dict__, **values})


def _without(points: _Points, matches: Matches, kind: int) -> _Points:
    """Return the points with one kind of error corrected."""
    if kind == MISSED:
        missed = matches.object_classes[matches.is_missed()]
        fewer = np.bincount(missed, minlength=matches.num_classes)
        return points.changed(num_objects=points.num_objects - fewer)
    counts = matches.kinds != IGNORED
    is_kind = matches.kinds == kind
    classes, is_correct, is_kept = matches.classes.copy(), matches.kinds == CORRECT, ~is_kind
    if kind in (CLASSIFICATION, LOCALIZATION):
        fixed = np.intersect1d(_best_of_objects(matches), np.flatnonzero(is_kind))
        classes[fixed] = matches.object_classes[matches.targets[fixed]]
        is_correct[fixed] = is_kept[fixed] = True
    kept = counts & is_kept
    return points.changed(
        scores=matches.scores[kept], classes=classes[kept], is_correct=is_correct[kept]
    )


def _best_of_objects(matches: Matches) -> np.ndarray:
    """Return, of each object that is not matched, the best error of class or box, if there is."""
    errors = np.flatnonzero(np.isin(matches.kinds, (CLASSIFICATION, LOCALIZATION)))
    errors = errors[matches.matched_by[matches.targets[errors]] < 0]
    errors = errors[np.argsort(-matches.scores[errors], kind="stable")]
    _, first = np.unique(matches.targets[errors], return_index=True)
    return errors[first]


def _curves(points: _Points) -> np.ndarray:
    curves = np.full((len(points.num_objects), len(_RECALLS)), np.nan)
    order = np.argsort(points.classes, kind="stable")
    bounds = np.searchsorted(points.classes[order], np.arange(len(curves) + 1))
    for index in np.flatnonzero(points.is_scored):
        chosen = order[bounds[index] : bounds[index + 1]]
        if not len(chosen) and not points.num_objects[index]:
            continue  # nothing is left to find, and nothing wrong
        curves[index] = precision_curve(
            points.scores[chosen], points.is_correct[chosen], points.num_objects[index]
        )
    return curves


def _mean_ap(points: _Points) -> float:
    """Return AP50 in percent; 100 if nothing is left to find, and nothing wrong."""
    curves = _curves(points)
    known = curves[~np.isnan(curves[:, 0])]
    return float(100 * known.mean()) if known.size else 100.0
