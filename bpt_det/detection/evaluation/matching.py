"""Matches of predictions with objects at IoU 0.5, and the kind of error of each false positive.

The kinds are those of TIDE (arXiv:2008.08115, section 2.2), decided in the order of
dbolya/tide@49a5d2a tidecv/quantify.py:228-270. Shape legend: D predictions, G objects.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from pycocotools.mask import iou as coco_iou

from bpt_det.data.rle import mask_areas

from .packed_results import PackedResults

CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(6)
KINDS = ("classification", "localization", "both", "duplicate", "background", "missed")
CORRECT, IGNORED = -1, -2  # of a prediction that is no error

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1


@dataclass(frozen=True)
class Matches:
    """Predictions and objects of the images of an evaluation.

    Args:
        scores, classes, areas, images: of the predictions, (D,); areas in square pixels.
        kinds: of the predictions, (D,): an error, `CORRECT`, or `IGNORED` (in a crowd region).
        targets: objects, (D,): that a correct prediction is matched with, or whose class or box
            an error has missed; -1 for other errors.
        object_classes, object_areas, object_images: of the objects, (G,); crowds are none.
        matched_by: prediction that an object is matched with, (G,), or -1.
        num_classes: of the model; classes are numbered from 0.
    """

    scores: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    images: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray
    object_classes: np.ndarray
    object_areas: np.ndarray
    object_images: np.ndarray
    matched_by: np.ndarray
    num_classes: int

    @property
    def num_objects(self) -> np.ndarray:
        """Number of objects of each class, int64 (num_classes,)."""
        return np.bincount(self.object_classes, minlength=self.num_classes)

    def above(self, threshold: float) -> "Matches":
        """Return the same without the predictions that score no more than a threshold.

        No prediction changes the match or the kind of one of a higher score.
        """
        kept = self.scores > threshold
        numbers = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # new ones; that of -1
        matched_by = numbers[self.matched_by]
        names = ("scores", "classes", "areas", "images", "kinds", "targets")
        chosen = {name: getattr(self, name)[kept] for name in names}
        return replace(self, matched_by=matched_by, **chosen)

    def is_missed(self) -> np.ndarray:
        """Return which objects no prediction is matched with, nor errs in class or box of, (G,)."""
        is_fixable = np.zeros(len(self.matched_by), bool)
        errors = np.isin(self.kinds, (CLASSIFICATION, LOCALIZATION))
        is_fixable[self.targets[errors]] = True
        return (self.matched_by < 0) & ~is_fixable


def match_predictions(
    annotations: list[dict], results: PackedResults, num_classes: int, task: str = "bbox"
) -> tuple[Matches, list[dict]]:
    """Return the matches of results with annotations, and the annotated objects.

    The prediction of the highest score takes first, of the objects of its class, the one with
    which its IoU is largest, if it is at least 0.5.

    Args:
        annotations: in COCO's format, with category ids from 1 to ``num_classes``.
        results: of the same images, likewise; of Matches, prediction i is result i.
        num_classes: of the model.
        task: ``bbox``: IoU and areas are those of boxes; ``segm``: of masks, which all have as
            run-length codes.
    """
    objects = [a for a in annotations if not a.get("iscrowd", 0)]
    crowds = [a for a in annotations if a.get("iscrowd", 0)]
    object_shapes, crowd_shapes = (_shapes(each, task) for each in (objects, crowds))
    object_classes, crowd_classes = map(_classes, (objects, crowds))
    classes, scores, areas = results.category_ids - 1, results.scores, np.zeros(len(results))
    kinds = np.full(len(results), BACKGROUND, np.int64)
    targets = np.full(len(results), -1, np.int64)
    matched_by = np.full(len(objects), -1, np.int64)
    of_image = [_by_image(each) for each in (objects, crowds)]
    order = np.lexsort((-scores, results.images))
    first = np.flatnonzero(np.diff(results.images[order], prepend=-1))
    for rows in np.split(order, first[1:]) if len(order) else ():
        image = results.image_ids[results.images[rows[0]]]
        # The codes of one image at a time.
        shapes = results.boxes[rows] if task == "bbox" else _codes(map(results.mask, rows))
        areas[rows] = _areas(shapes)
        columns, regions = (np.array(group.get(image, []), np.int64) for group in of_image)
        is_same = classes[rows][:, None] == object_classes[columns]
        ious = _ious(shapes, object_shapes[columns], is_crowd=False)
        match, kind, target = _match_image(ious, is_same)
        is_inside = _ious(shapes, crowd_shapes[regions], is_crowd=True) >= FOREGROUND_IOU
        is_inside &= classes[rows][:, None] == crowd_classes[regions]
        kind[(kind != CORRECT) & is_inside.any(axis=1)] = IGNORED
        kinds[rows] = kind
        targets[rows[target >= 0]] = columns[target[target >= 0]]
        matched_by[columns[match >= 0]] = rows[match[match >= 0]]
    matches = Matches(
        scores,
        classes,
        areas,
        np.array(results.image_ids, np.int64)[results.images],
        kinds,
        targets,
        object_classes,
        np.array([a["area"] for a in objects], np.float64),
        np.array([a["image_id"] for a in objects], np.int64),
        matched_by,
        num_classes,
    )
    return matches, objects


def _match_image(ious: np.ndarray, is_same: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return prediction by object, kind by prediction and object by prediction, of one image.

    Args:
        ious: (D, G), the prediction of the highest score first.
        is_same: whether both are of one class, (D, G).
    """
    num_predictions, num_objects = ious.shape
    match = np.full(num_objects, -1)
    kind = np.full(num_predictions, BACKGROUND)
    target = np.full(num_predictions, -1)
    if not num_objects:
        return match, kind, target
    own, other = ious * is_same, ious * ~is_same
    free = own.copy()
    for row in np.flatnonzero(own.max(axis=1) >= FOREGROUND_IOU):
        column = int(free[row].argmax())
        if free[row, column] >= FOREGROUND_IOU:
            match[column], kind[row], target[row] = row, CORRECT, column
            free[:, column] = 0
    is_error = kind != CORRECT
    best_own, best_other = own.max(axis=1), other.max(axis=1)
    is_near = (best_own >= BACKGROUND_IOU) & (best_own < FOREGROUND_IOU)
    is_confused = ~is_near & (best_other >= FOREGROUND_IOU)
    is_duplicate = ~is_near & ~is_confused & (best_own >= FOREGROUND_IOU)
    is_both = ~is_near & ~is_confused & ~is_duplicate & (best_other > BACKGROUND_IOU)
    for number, chosen in (
        (LOCALIZATION, is_near),
        (CLASSIFICATION, is_confused),
        (DUPLICATE, is_duplicate),
        (BOTH, is_both),
    ):
        kind[is_error & chosen] = number
    for chosen, values in ((is_near, own), (is_confused, other)):
        target[is_error & chosen] = values.argmax(axis=1)[is_error & chosen]
    return match, kind, target


def _ious(shapes: np.ndarray, others: np.ndarray, *, is_crowd: bool) -> np.ndarray:
    """Return the IoUs of `_shapes`; with a crowd, the share of a shape that lies in it."""
    if not len(shapes) or not len(others):
        return np.zeros((len(shapes), len(others)))
    if shapes.ndim == 1:
        shapes, others = list(shapes), list(others)
    return np.asarray(coco_iou(shapes, others, [int(is_crowd)] * len(others)))


def _shapes(annotations: list[dict], task: str) -> np.ndarray:
    """Return XYWH boxes (N, 4), or the run-length codes of masks (N,)."""
    if task == "bbox":
        return np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    return _codes(a["segmentation"] for a in annotations)


def _codes(masks: Iterable[dict]) -> np.ndarray:
    listed = list(masks)
    codes = np.empty(len(listed), object)
    codes[:] = listed
    return codes


def _areas(shapes: np.ndarray) -> np.ndarray:
    if shapes.ndim == 1:
        return mask_areas(shapes)
    return shapes[:, 2] * shapes[:, 3]


def _classes(annotations: list[dict]) -> np.ndarray:
    return np.array([a["category_id"] - 1 for a in annotations], np.int64)


def _by_image(annotations: list[dict]) -> dict[int, list[int]]:
    by_image = defaultdict(list)
    for index, annotation in enumerate(annotations):
        by_image[annotation["image_id"]].append(index)
    return by_image
