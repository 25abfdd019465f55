"""Scores of predictions by faster-coco-eval, some categories at a time to bound the memory.

COCO's metrics treat each category by itself; the tables of all are put together before the means.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from bpt_det.data.rle import mask_areas

from .packed_results import PackedResults

logger = logging.getLogger(__name__)

MOST_DETECTIONS = 100  # of an image, in COCO's metrics
_MOST_PREDICTIONS = 50_000  # at once, which takes 0.1 GB
# A category's axis in the tables of an evaluation.
_CATEGORY_AXIS = {"precision": 2, "recall": 1, "scores": 2}


def score_results(
    truth: COCO,
    results: PackedResults,
    task: str,
    image_ids: Sequence[int],
    least_area: float = 0.0,
    max_detections: int = MOST_DETECTIONS,
) -> COCOeval_faster:
    """Return a summarized evaluation of results; AP is of the areas from the least.

    Args:
        truth: what is scored against.
        results: with the ids of ``truth``.
        task: ``bbox`` or ``segm``.
        image_ids: images that were run.
        least_area: square pixels.
        max_detections: scored of an image and a category.
    """
    limits = [1, 10, max_detections]
    evaluation = score_categories(truth, results, task, image_ids, limits, least_area=least_area)
    evaluation.summarize()
    return evaluation


def score_categories(
    truth: COCO,
    results: PackedResults,
    task: str,
    image_ids: Sequence[int],
    max_detections: list[int],
    *,
    least_area: float = 0.0,
    lvis_style: bool = False,
    most_categories: int | None = None,
) -> COCOeval_faster:
    """Return an evaluation with the tables of all categories, in the order of their ids.

    Args:
        truth, results, task, image_ids, least_area: see `score_results`.
        max_detections: numbers of predictions of an image that the tables are of.
        lvis_style: how unlabeled categories count.
        most_categories: at once; None: no limit but that of predictions.
    """
    every = sorted(truth.getCatIds())
    tables: dict[str, list[np.ndarray]] = defaultdict(list)
    for category_ids in _groups(results.category_ids, every, most_categories):
        part = results.take(np.isin(results.category_ids, category_ids))
        evaluation = COCOeval_faster(
            truth,
            load_results(truth, part, task),
            task,
            print_function=logger.debug,
            lvis_style=lvis_style,
        )
        params = evaluation.params
        params.imgIds, params.catIds = sorted(image_ids), category_ids
        params.maxDets = max_detections
        params.areaRng[0] = [least_area, params.areaRng[0][1]]
        evaluation.evaluate()
        evaluation.accumulate()
        for name in _CATEGORY_AXIS:
            tables[name].append(evaluation.eval[name])
    evaluation.params.catIds = every
    evaluation.eval = {n: np.concatenate(tables[n], axis=i) for n, i in _CATEGORY_AXIS.items()}
    return evaluation


def _groups(
    predicted: np.ndarray, category_ids: list[int], most_categories: int | None
) -> Iterator[list[int]]:
    """Yield the categories in groups, of one at least.

    Args:
        predicted: category of each prediction, (D,).
        category_ids: all, in order.
        most_categories: of a group.
    """
    counts = Counter(predicted.tolist())
    group: list[int] = []
    num_predictions = 0
    for category_id in category_ids:
        count = counts[category_id]
        is_full = len(group) == most_categories or num_predictions + count > _MOST_PREDICTIONS
        if group and is_full:
            yield group
            group, num_predictions = [], 0
        group.append(category_id)
        num_predictions += count
    yield group


def load_results(truth: COCO, results: PackedResults, task: str) -> COCO:
    """Do what ``truth.loadRes`` does, without the boxes of masks, and with faster areas."""
    shape = "segmentation" if task == "segm" else "bbox"
    fields = ("image_id", "category_id", "score", shape)
    annotations = [
        {**{field: result[field] for field in fields}, "id": index, "iscrowd": 0}
        for index, result in enumerate(results, 1)
    ]
    if task == "segm":
        areas = mask_areas(annotation[shape] for annotation in annotations)
    else:
        areas = results.boxes[:, 2] * results.boxes[:, 3]
    for annotation, area in zip(annotations, areas, strict=True):
        annotation["area"] = float(area)
    content = {name: truth.dataset[name] for name in ("images", "categories")}
    return COCO({**content, "annotations": annotations})
