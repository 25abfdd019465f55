"""Which images to run a detector on, and reading them as RGB arrays (H, W, 3), uint8."""

import os
from pathlib import Path

import numpy as np

from bpt_det.utils.opencv import cv2  # before detectron2 imports it: explains a missing libGL

# isort: split
from detectron2.data.detection_utils import _apply_exif_orientation, convert_PIL_to_numpy
from PIL import Image

from bpt_det.utils.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def folder_records(folder: str, *, recursive: bool = False, option: str = "--input") -> list[dict]:
    """Return one record per image file of a folder, sorted by name.

    Args:
        folder: path of the folder.
        recursive: search its subfolders too.
        option: that the folder was given with, for the error.

    Raises:
        InputError: there is no such folder, or it holds no image.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{option} '{folder}' is not a folder; give one that holds images.")
    found = Path(folder).rglob("*") if recursive else Path(folder).iterdir()
    found = sorted(file for file in found if file.suffix.lower() in IMAGE_SUFFIXES)
    files = [file for file in found if not file.is_dir()]
    if not files:
        raise InputError(
            f"{option} '{folder}' holds no images; files that end in {', '.join(IMAGE_SUFFIXES)} "
            f"count, subfolders {'too' if recursive else 'do not'}."
        )
    return [
        {"file_name": str(file), "image_id": str(file.relative_to(folder).as_posix())}
        for file in files
    ]


def spread_evenly(records: list[dict], count: int) -> list[dict]:
    """Return ``count`` records, or all if there are fewer, evenly spread in order of image_id.

    The records in that order are cut into ``count`` stretches of (nearly) the same length; the
    middle one of each is taken, so the same data give the same images.
    """
    records = sorted(records, key=lambda record: record["image_id"])
    count = min(count, len(records))
    return [records[(2 * i + 1) * len(records) // (2 * count)] for i in range(count)]


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Return an image file as RGB, turned upright as its EXIF data say; 16 bits are scaled to 8.

    Raises:
        InputError: it is missing, cannot be decoded, or has other than 8 or 16 bits a channel.
    """
    try:
        with Image.open(path) as image:
            return pil_to_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"image '{path}' cannot be read ({error}); restore the file or remove it."
        ) from error


def refuse_deep_pixels(image: Image.Image, path: str | os.PathLike) -> None:
    """Refuse an image of more than 8 bits a channel, which Detectron2 would clip to white.

    Raises:
        InputError: it has 16 or 32 bits, or floats.
    """
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"image '{path}' has more than 8 bits a channel (Pillow's mode '{image.mode}'), which "
            "would be clipped to white above 255; save it with 8 bits, scaled as suits the data."
        )


def pil_to_rgb(image: Image.Image) -> np.ndarray:
    """Return a PIL image of any mode as RGB; see `read_rgb`.

    The same pixels as Detectron2's `read_image` gives, but for 16-bit gray: that clips all above
    255 to white. Transparency is dropped.

    Raises:
        InputError: its pixels are floats or of 32 bits.
    """
    image = _apply_exif_orientation(image)  # Detectron2's, so that training sees the same
    if image.mode == "F" or (image.mode == "I" and not _fits_16_bits(image)):
        raise InputError(f"pixels of mode '{image.mode}' have no known range, save it with 8 bits")
    if image.mode.startswith("I"):
        return array_to_rgb(np.asarray(image).astype(np.uint16))
    return np.ascontiguousarray(convert_PIL_to_numpy(image, "RGB"))


def array_to_rgb(image: np.ndarray) -> np.ndarray:
    """Return an array as RGB: gray is repeated, transparency dropped, 16 bits scaled to 8.

    Args:
        image: (H, W), or (H, W, 1), (H, W, 3) or (H, W, 4); uint8 or uint16.

    Raises:
        InputError: it has another shape or dtype, or no pixels.
    """
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        raise InputError(
            "an image must have the shape (H, W, 3), or (H, W) or (H, W, 4), and at least one "
            f"pixel; got {image.shape}."
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an image must be uint8 in [0, 255], or uint16; got {image.dtype}.")
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3])


def shrink(picture: np.ndarray, longest: int) -> np.ndarray:
    """Return a picture with no side over ``longest``, each pixel the mean of those it replaces."""
    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _fits_16_bits(image: Image.Image) -> bool:
    """Pillow opens some 16-bit files with 32 bits a pixel."""
    low, high = image.getextrema()
    return low >= 0 and high < 2**16
