"""AP of overlapping instances: those whose box overlaps that of another one."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO
from pycocotools.mask import iou as box_iou

from .packed_results import PackedResults
from .scoring import MOST_DETECTIONS, score_results

_LEAST_AREA = 1e-3  # square pixels; smaller ones are ignored where instances are left out


def keep_overlapping(content: dict, least_iou: float) -> dict:
    """Return COCO-format content in which all but overlapping instances have an area of 0.

    An evaluation whose areas begin at `_LEAST_AREA` ignores these.

    Args:
        content: of an annotation file.
        least_iou: of an instance's box with that of another one of the image; crowds do not count.
    """
    by_image = defaultdict(list)
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd", 0):
            by_image[annotation["image_id"]].append(annotation)
    overlapping = set()
    for annotations in by_image.values():
        boxes = np.array([annotation["bbox"] for annotation in annotations], np.float64)
        ious = np.asarray(box_iou(boxes, boxes, [0] * len(boxes)))
        np.fill_diagonal(ious, 0)
        overlapping |= {
            a["id"]
            for a, iou in zip(annotations, ious.max(axis=1), strict=True)
            if iou >= least_iou
        }
    annotations = [
        {**a, "area": max(a["area"], _LEAST_AREA) if a["id"] in overlapping else 0}
        for a in content["annotations"]
    ]
    return {**content, "annotations": annotations}


def score_overlapping(
    content: dict,
    results: PackedResults,
    task: str,
    image_ids: Sequence[int],
    max_detections: int = MOST_DETECTIONS,
) -> float:
    """Return the AP of overlapping instances in percent; nan without such.

    Args:
        content: of `keep_overlapping`.
        results: in COCO's format, with the category ids of ``content``.
        task: ``bbox`` or ``segm``.
        image_ids: images that were run.
        max_detections: scored of an image.
    """
    truth = COCO(content)
    ap = score_results(truth, results, task, image_ids, _LEAST_AREA, max_detections).stats[0]
    return float(100 * ap) if ap >= 0 else math.nan
