"""Scores of results against ground truth in COCO's format, computed by faster-coco-eval."""

import logging
from collections.abc import Sequence

from faster_coco_eval import COCO, COCOeval_faster
from pycocotools.mask import area as mask_area

logger = logging.getLogger(__name__)

MOST_DETECTIONS = 100  # of an image, in COCO's metrics


def score_results(
    truth: COCO,
    results: list[dict],
    task: str,
    image_ids: Sequence[int],
    least_area: float = 0.0,
    max_detections: int = MOST_DETECTIONS,
) -> COCOeval_faster:
    """Return a summarized evaluation of COCO-format results; AP is of the areas from the least."""
    predictions = load_results(truth, results, task)
    evaluation = COCOeval_faster(truth, predictions, task, print_function=logger.debug)
    evaluation.params.imgIds = sorted(image_ids)
    evaluation.params.maxDets = [1, 10, max_detections]
    evaluation.params.areaRng[0] = [least_area, evaluation.params.areaRng[0][1]]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def load_results(truth: COCO, results: list[dict], task: str) -> COCO:
    """Do what ``truth.loadRes`` does, without the boxes of masks, and with faster areas."""
    if task == "segm":
        shape, areas = "segmentation", [float(mask_area(r["segmentation"])) for r in results]
    else:
        shape, areas = "bbox", [r["bbox"][2] * r["bbox"][3] for r in results]
    fields = ("image_id", "category_id", "score", shape)
    annotations = [
        {**{field: result[field] for field in fields}, "id": index, "area": area, "iscrowd": 0}
        for index, (result, area) in enumerate(zip(results, areas, strict=True), 1)
    ]
    content = {name: truth.dataset[name] for name in ("images", "categories")}
    return COCO({**content, "annotations": annotations})
