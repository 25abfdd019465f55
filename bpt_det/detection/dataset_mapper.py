"""Detectron2's dataset mapper, with an error that names the image it cannot read."""

from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import SizeMismatchError

from bpt_det.errors import InputError


class ImageNamingMapper(DatasetMapper):
    """Detectron2's `DatasetMapper`; an unreadable image is named.

    Raises:
        InputError: an image is missing, cannot be decoded, or has another size than recorded; or
            its masks are RLE where polygons are asked for.
    """

    def __call__(self, dataset_dict: dict) -> dict:
        """Return the mapped record, see `DatasetMapper`."""
        try:
            return super().__call__(dataset_dict)
        except SizeMismatchError as error:  # a ValueError too
            raise InputError(" ".join(str(error).split())) from error
        except ValueError as error:
            if "mask_format" not in str(error):
                raise
            raise InputError(
                f"image '{dataset_dict['file_name']}' has masks as RLE; set "
                "dataloader.train.mapper.instance_mask_format=bitmask."
            ) from error
        except (OSError, SyntaxError) as error:  # Pillow reports broken PNGs as SyntaxError
            raise InputError(
                f"image '{dataset_dict['file_name']}' cannot be read ({error}); restore the file "
                "or remove it from the annotation file."
            ) from error
