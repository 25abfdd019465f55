"""Predictions file: COCO format, complete in itself, written as the predictions come."""

import json
import os
from collections.abc import Hashable, Sequence
from pathlib import Path

import pycocotools.mask as mask_util
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import Instances

from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.utils.atomic import ask_for_space
from bpt_det.utils.errors import InputError, printable


class CocoFile:
    """Writes images, categories and predictions; use it in a ``with`` statement.

    Annotations go to a file beside ``path`` as they come, so memory holds the list of images
    only. The file appears at ``path`` when the block ends, and not at all if it fails.

    An annotation has COCO's fields of ground truth and a ``score``, so the file can be loaded with
    ``COCO(path)``, and its list of annotations with ``loadRes``. ``bbox`` is XYWH in pixels,
    ``segmentation`` run lengths. Ids of images and annotations count from 1.

    Args:
        path: of the file.
        class_names: by class index.
        category_ids: by class index; None: the class index + 1.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        category_ids: Sequence[Hashable] | None = None,
    ) -> None:
        self.path = path
        self.num_annotations = 0
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._category_ids = category_ids or range(1, len(class_names) + 1)
        self._categories = [
            {"id": key, "name": name}
            for key, name in zip(self._category_ids, class_names, strict=True)
        ]
        self._images: list[dict] = []

    @property
    def num_images(self) -> int:
        """Images added so far."""
        return len(self._images)

    def __enter__(self) -> "CocoFile":
        try:
            self._file = self._partial.open("w", encoding="utf-8")
        except OSError as error:
            raise self._failure(error) from error
        info = {"description": "predictions of bpt_det"}  # older pycocotools need one
        self._write(f'{{"info": {json.dumps(info)}, "annotations": [')
        return self

    def add(self, image: dict, instances: Instances) -> None:
        """Add an image and its predictions.

        Args:
            image: at least ``file_name``, written so that it is valid text, see `printable`;
                further keys are kept.
            instances: predictions on the CPU at the size of the image.
        """
        height, width = instances.image_size
        image_id = self.num_images + 1
        image = {**image, "file_name": printable(image["file_name"])}
        self._images.append({"id": image_id, **image, "width": width, "height": height})
        for prediction in to_coco(instances, image_id):
            separator = "," if self.num_annotations else ""
            self.num_annotations += 1
            key = self._category_ids[prediction["category_id"]]
            annotation = {"id": self.num_annotations, **_as_ground_truth(prediction, key)}
            self._write(f"{separator}\n{json.dumps(annotation)}")

    def __exit__(self, error_type: type | None, *error) -> None:
        try:
            if error_type is None:
                lists = {"images": self._images, "categories": self._categories}
                self._write(f"\n], {json.dumps(lists)[1:]}\n")
                self._file.flush()
                os.fsync(self._file.fileno())
                self._partial.replace(self.path)
        except OSError as failure:
            raise self._failure(failure) from failure
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> InputError:
        return InputError(f"cannot write '{self.path}': {error.strerror}{ask_for_space(error)}")


def to_coco(instances: Instances, image_id: int) -> list[dict]:
    """Return predictions on the CPU as results in COCO's format; category ids are class indexes."""
    masks = instances.pred_masks if instances.has("pred_masks") else None
    if not isinstance(masks, RunLengthMasks):
        return instances_to_coco_json(instances, image_id)
    fields = {key: value for key, value in instances.get_fields().items() if key != "pred_masks"}
    results = instances_to_coco_json(Instances(instances.image_size, **fields), image_id)
    return [
        {**result, "segmentation": code} for result, code in zip(results, masks.codes, strict=True)
    ]


def _as_ground_truth(prediction: dict, category_id: Hashable) -> dict:
    """Return a result in COCO's format with the fields that an annotation has besides."""
    if "segmentation" in prediction:
        area = float(mask_util.area(prediction["segmentation"]))
    else:
        area = prediction["bbox"][2] * prediction["bbox"][3]
    return {**prediction, "category_id": category_id, "area": area, "iscrowd": 0}
