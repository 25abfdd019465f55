"""Detectron2's dataset mapper, with an error that names the image it cannot read."""

from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import SizeMismatchError

from bpt_det.errors import InputError


class ImageNamingMapper(DatasetMapper):
    """Detectron2's `DatasetMapper`; an unreadable image is named.

    Raises:
        InputError: an image is missing, cannot be decoded, or has another size than recorded.
    """

    def __call__(self, dataset_dict: dict) -> dict:
        """Return the mapped record, see `DatasetMapper`."""
        try:
            return super().__call__(dataset_dict)
        except SizeMismatchError as error:
            raise InputError(" ".join(str(error).split())) from error
        except (OSError, SyntaxError) as error:  # Pillow reports broken PNGs as SyntaxError
            raise InputError(
                f"image '{dataset_dict['file_name']}' cannot be read ({error}); restore the file "
                "or remove it from the annotation file."
            ) from error
