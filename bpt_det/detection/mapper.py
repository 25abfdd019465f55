"""Detectron2's dataset mapper, faster, with errors that name the image that cannot be used."""

import detectron2.data.transforms as T
from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import SizeMismatchError, filter_empty_instances
from PIL import Image

from bpt_det.data.images import check_bit_depth
from bpt_det.utils.errors import InputError, one_line

from .mask_annotations import SharedPolygons, transform_masks


class ImageNamingMapper(DatasetMapper):
    """Detectron2's `DatasetMapper`; an image that it cannot use is named.

    Raises:
        InputError: an image is missing, cannot be decoded, has more than 8 bits a channel, another
            size than recorded, or is too thin to be resized; its annotations are malformed; or its
            masks are RLE where polygons are asked for.
    """

    def __call__(self, dataset_dict: dict) -> dict:
        """Return the mapped record, see `DatasetMapper`."""
        path = dataset_dict["file_name"]
        try:
            with Image.open(path) as image:
                check_bit_depth(image, path)
            return super().__call__(_with_shared_polygons(dataset_dict))
        except InputError:
            raise
        except SizeMismatchError as error:  # a ValueError too
            raise InputError(one_line(error)) from error
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            # Pillow reports broken PNGs as SyntaxError.
            raise InputError(
                f"image '{path}' cannot be read ({error}); restore the file or remove it from the "
                "annotation file."
            ) from error
        except (ValueError, AssertionError, KeyError, IndexError, TypeError) as error:
            if "mask_format" in str(error) and _has_rle(dataset_dict):
                raise InputError(
                    f"image '{path}' has masks as RLE; set "
                    "dataloader.train.mapper.instance_mask_format=bitmask."
                ) from error
            size = " x ".join(str(dataset_dict.get(key, "?")) for key in ("height", "width"))
            raise InputError(
                f"image '{path}' of {size} pixels and its annotations cannot be used "
                f"({type(error).__name__}: {error}); correct or remove them. "
                "tools/check_dataset.py lists all faults of a dataset."
            ) from error

    def _transform_annotations(
        self, dataset_dict: dict, transforms: T.TransformList, image_shape: tuple[int, int]
    ) -> None:
        """Replace the annotations by instances, those of `DatasetMapper`, in place."""
        annotations = [one for one in dataset_dict["annotations"] if not one.get("iscrowd", 0)]
        is_masks_alone = self.recompute_boxes and not self.use_keypoint
        if not (is_masks_alone and annotations and all("segmentation" in a for a in annotations)):
            super()._transform_annotations(dataset_dict, transforms, image_shape)
            return
        instances = transform_masks(annotations, transforms, image_shape, self.instance_mask_format)
        del dataset_dict["annotations"]
        dataset_dict["instances"] = filter_empty_instances(instances)


def _with_shared_polygons(record: dict) -> dict:
    if "annotations" not in record:
        return record
    return {**record, "annotations": SharedPolygons(record["annotations"])}


def _has_rle(record: dict) -> bool:
    annotations = record.get("annotations", ())
    return any(isinstance(one.get("segmentation"), dict) for one in annotations)
