"""Ground truth of an annotation file, as an evaluation of its metrics needs it.

The evaluation takes ids for numbers and 0 for "no match", and sorts instances by their area into
small, medium and large. An annotation file promises neither.
"""

import logging
from collections.abc import Hashable

from pycocotools import mask as coco_mask

from bpt_det.data.coco import is_area

logger = logging.getLogger(__name__)


def prepare_truth(content: dict) -> tuple[dict, dict[Hashable, int]]:
    """Return the content with ids of its own, and the number that each image has there.

    Images and annotations are numbered from 1. An area that is no positive number is computed, of
    the mask or else of the box. Left out are annotations of unknown images, and those that training
    leaves out too: without a size, without a pixel, or wholly outside the image. The log says how
    many.

    Args:
        content: of a COCO-format annotation file; is not changed.
    """
    numbers = {image["id"]: number for number, image in enumerate(content["images"], 1)}
    images = [{**image, "id": numbers[image["id"]]} for image in content["images"]]
    image_by_id = {image["id"]: image for image in content["images"]}
    annotations: list[dict] = []
    num_measured, num_left_out = 0, 0
    for annotation in content["annotations"]:
        image = image_by_id.get(annotation["image_id"])
        pixels = None if image is None else _count_pixels(annotation, image)
        if image is None or (not annotation.get("iscrowd", 0) and not pixels):
            num_left_out += 1
            continue
        area = annotation.get("area")
        if not is_area(area):
            area, num_measured = pixels, num_measured + 1
        own = {"id": len(annotations) + 1, "image_id": numbers[image["id"]], "area": area}
        annotations.append({**annotation, **own, "iscrowd": annotation.get("iscrowd", 0)})
    if num_measured:
        logger.warning("areas of %d objects to evaluate on are measured", num_measured)
    if num_left_out:
        logger.warning("%d objects without a pixel are left out of the evaluation", num_left_out)
    return {**content, "images": images, "annotations": annotations}, numbers


def _count_pixels(annotation: dict, image: dict) -> float:
    """Return the area of an annotation's mask, or of its box within the image; 0: it has none."""
    height, width = image["height"], image["width"]
    x, y, box_width, box_height = annotation["bbox"]
    inside = [min(x + box_width, width) - max(x, 0), min(y + box_height, height) - max(y, 0)]
    if min(box_width, box_height, *inside) <= 0:
        return 0.0
    segmentation = annotation.get("segmentation")
    if not segmentation or segmentation == [[]]:
        return float(box_width * box_height)
    if isinstance(segmentation, dict):
        is_compressed = not isinstance(segmentation["counts"], list)
        codes = [
            segmentation if is_compressed else coco_mask.frPyObjects(segmentation, height, width)
        ]
    else:
        codes = coco_mask.frPyObjects(segmentation, height, width)
    return float(coco_mask.area(coco_mask.merge(codes)))
