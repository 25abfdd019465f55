"""Dataset mapper: Detectron2's, faster, with errors that name the image that cannot be used."""

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import (
    annotations_to_instances,
    convert_PIL_to_numpy,
    filter_empty_instances,
)
from PIL import Image

from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError

from .mask_annotations import copy_annotation, transform_masks


class ImageNamingMapper(DatasetMapper):
    """Detectron2's `DatasetMapper` of images, boxes, masks and keypoints; errors name the image.

    Semantic segmentations and precomputed proposals are not read.

    Raises:
        InputError: an image is missing, cannot be decoded, has another size than recorded, or is
            too thin to be resized; its annotations are malformed; or its masks are RLE where
            polygons are asked for.
    """

    def __call__(self, dataset_dict: dict) -> dict:
        """Return the mapped record, see `DatasetMapper`; the given one is left as it is."""
        image = read_record_image(dataset_dict)
        height, width = image.shape[:2]
        record = {**dataset_dict, "height": height, "width": width}
        if self.image_format != "RGB":
            image = convert_PIL_to_numpy(Image.fromarray(image), self.image_format)
        try:
            return self._map(record, image)
        except (ValueError, AssertionError, KeyError, IndexError, TypeError) as error:
            raise _explain(error, dataset_dict) from error

    def _map(self, record: dict, image: np.ndarray) -> dict:
        """Fill a record, in place, with what `DatasetMapper` puts there."""
        augmented = T.AugInput(image)
        transforms = self.augmentations(augmented)
        planes = np.ascontiguousarray(augmented.image.transpose(2, 0, 1))
        record["image"] = torch.as_tensor(planes)
        if not self.is_train:
            record.pop("annotations", None)
        elif "annotations" in record:
            record["annotations"] = [copy_annotation(a) for a in record["annotations"]]
            self._transform_annotations(record, transforms, planes.shape[1:])
        return record

    def _transform_annotations(
        self, dataset_dict: dict, transforms: T.TransformList, image_shape: tuple[int, int]
    ) -> None:
        """Replace the annotations by instances, those of `DatasetMapper`, in place."""
        annotations = [a for a in dataset_dict["annotations"] if not a.get("iscrowd", 0)]
        if not annotations:  # Detectron2 asks for the masks of objects that are not there
            del dataset_dict["annotations"]
            dataset_dict["instances"] = annotations_to_instances([], image_shape)
            return
        is_masks_alone = self.recompute_boxes and not self.use_keypoint
        if not (is_masks_alone and all("segmentation" in a for a in annotations)):
            super()._transform_annotations(dataset_dict, transforms, image_shape)
            return
        instances = transform_masks(annotations, transforms, image_shape, self.instance_mask_format)
        del dataset_dict["annotations"]
        dataset_dict["instances"] = filter_empty_instances(instances)


def read_record_image(record: dict) -> np.ndarray:
    """Return the image of a dataset record as RGB (H, W, 3), uint8, as training sees it.

    Raises:
        InputError: it is missing, cannot be decoded, or has another size than recorded.
    """
    path = record["file_name"]
    image = read_rgb(path)
    height, width = image.shape[:2]
    recorded = (record.get("height", height), record.get("width", width))
    if recorded != (height, width):
        raise InputError(
            f"image '{path}' is of {height} x {width} pixels (height x width) but recorded with "
            f"{recorded[0]} x {recorded[1]}; correct the record.",
            hint="check_dataset",
        )
    return image


def _explain(error: Exception, record: dict) -> InputError:
    """Return an error that names the image whose annotations cannot be mapped."""
    if isinstance(error, InputError):
        return error
    path, height, width = (record.get(key, "?") for key in ("file_name", "height", "width"))
    if "mask_format" in str(error) and _has_rle(record):
        return InputError(
            f"image '{path}' has masks as RLE; they need instance_mask_format=bitmask.",
            parameter="instance_mask_format",
        )
    return InputError(
        f"image '{path}' of {height} x {width} pixels and its annotations cannot be used "
        f"({type(error).__name__}: {error}); correct or remove them.",
        hint="check_dataset",
    )


def _has_rle(record: dict) -> bool:
    annotations = record.get("annotations", ())
    return any(isinstance(annotation.get("segmentation"), dict) for annotation in annotations)
