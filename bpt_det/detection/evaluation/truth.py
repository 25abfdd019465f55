"""Ground truth of a dataset, as an evaluation of its metrics needs it.

The evaluation takes ids for numbers and 0 for "no match", and sorts instances by their area into
small, medium and large. An annotation file promises neither.
"""

import logging
from collections.abc import Hashable

from bpt_det.data.coco import is_area
from bpt_det.data.coco_dataset import CocoDataset, measure_area
from bpt_det.data.rle import encode_segmentation

logger = logging.getLogger(__name__)


def prepare_truth(
    dataset: CocoDataset, indexes: dict[Hashable, int], num_classes: int
) -> tuple[dict, dict[Hashable, int]]:
    """Return content in COCO's format with ids of its own, and the number of each image there.

    Images and annotations are numbered from 1, and so are the classes of the model. An area that is
    no positive number is computed, of the mask or else of the box; the log says how many.

    Args:
        dataset: what is evaluated on.
        indexes: class index by category id; annotations of other categories are left out.
        num_classes: of the model.
    """
    numbers = {key: number for number, key in enumerate(dataset.images, 1)}
    images = [{**image, "id": numbers[key]} for key, image in dataset.images.items()]
    annotations: list[dict] = []
    num_measured = 0
    for key, group in dataset.annotations.items():
        for annotation in group:
            if annotation["category_id"] not in indexes:
                continue
            area = annotation.get("area")
            if not is_area(area):
                area = measure_area(annotation, dataset.images[key])
                num_measured += 1
            own = {"id": len(annotations) + 1, "image_id": numbers[key], "area": area}
            own["category_id"] = indexes[annotation["category_id"]] + 1
            annotations.append({**annotation, **own})
    if num_measured:
        logger.warning("areas of %d objects to evaluate on are measured", num_measured)
    categories = [{"id": number, "name": str(number)} for number in range(1, num_classes + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, numbers


def encode_masks(content: dict) -> dict:
    """Return content of `prepare_truth` with each mask as its run-length code."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    annotations = [
        {**a, "segmentation": encode_segmentation(a["segmentation"], *sizes[a["image_id"]])}
        if "segmentation" in a
        else a
        for a in content["annotations"]
    ]
    return {**content, "annotations": annotations}
