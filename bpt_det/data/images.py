"""Image reader: files, zip members, PIL images and arrays as RGB (H, W, 3), uint8.

Whether an EXIF orientation is applied, and what happens to more than 8 bits per channel, are
options.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from bpt_det.utils.errors import InputError, one_line

from .archives import UNREADABLE, read_bytes

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

Deep = Literal["scale", "refuse"]
ImageLike = np.ndarray | Image.Image | str | os.PathLike

_ORIENTATION = 0x0112  # EXIF tag
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_rgb(path: str | os.PathLike, *, exif: bool = True, deep: Deep = "scale") -> np.ndarray:
    """Return the image in a file, (H, W, 3) uint8, RGB; transparency is dropped.

    With ``exif`` these are the pixels of Detectron2's `read_image`, but for 16-bit gray: that clips
    all above 255 to white.

    Args:
        path: of a file, or ``ARCHIVE.zip/inner/path``.
        exif: turn the image as its EXIF orientation says.
        deep: ``scale`` 16 bits per channel to 8, or ``refuse`` them.

    Raises:
        InputError: it is missing, cannot be decoded, or has more bits per channel than are allowed.
    """
    return decode_rgb(read_bytes(path), path, exif=exif, deep=deep)


def read_stored(path: str | os.PathLike) -> np.ndarray:
    """Return an image with its pixels as they are stored: not turned, not scaled to 8 bits.

    Classification and pre-training read so, as the published training did; see `read_rgb`.
    """
    return read_rgb(path, exif=False, deep="refuse")


def decode_rgb(
    data: bytes, name: str | os.PathLike, *, exif: bool = True, deep: Deep = "scale"
) -> np.ndarray:
    """Return the image in a file's bytes, see `read_rgb`; ``name`` is for the error."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if deep == "refuse":
                check_bit_depth(image, name)
            return _convert(image, exif=exif)
    except UNREADABLE as error:
        if isinstance(error, InputError) and deep == "refuse":
            raise
        # Pillow's own text for an unknown format holds an address in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it is of no known format" if unknown else one_line(error)
        raise InputError(
            f"image '{name}' cannot be read ({reason}); restore the file or remove it."
        ) from error


def to_rgb(image: ImageLike) -> np.ndarray:
    """Return an image in any form as RGB (H, W, 3), uint8, turned upright; 16 bits are scaled.

    Args:
        image: path of a file; PIL image of any mode; or array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4), uint8 or uint16. Gray is repeated, transparency dropped.

    Raises:
        InputError: it is of another type, shape or dtype, has no pixels, or cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return read_rgb(image)
    if isinstance(image, Image.Image):
        return _convert(image, exif=True)
    if isinstance(image, np.ndarray):
        return _array_to_rgb(image)
    raise InputError(
        f"an image must be a NumPy array, a PIL image or a path, got {type(image).__name__}."
    )


def check_bit_depth(image: Image.Image, name: str | os.PathLike) -> None:
    """Check that an image has at most 8 bits per channel; Pillow would clip more to white.

    Raises:
        InputError: it has 16 or 32 bits, or floats.
    """
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"image '{name}' has more than 8 bits per channel (Pillow's mode '{image.mode}'), "
            "which would be clipped to white above 255; save it with 8 bits, scaled as suits the "
            "data."
        )


def _convert(image: Image.Image, *, exif: bool) -> np.ndarray:
    if exif:
        image = _turn_upright(image)
    if image.mode == "F" or (image.mode == "I" and not _fits_16_bits(image)):
        raise InputError(f"Pillow's mode '{image.mode}' has no known range; save it with 8 bits")
    if image.mode.startswith("I"):
        return _array_to_rgb(np.asarray(image).astype(np.uint16))
    if image.mode in ("P", "PA"):  # straight to RGB, Pillow warns of transparency that is lost
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation, by Detectron2's table."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF data: Pillow raises whatever they lead it to
        return image
    method = _TRANSPOSE.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _fits_16_bits(image: Image.Image) -> bool:
    """Whether 32-bit pixels fit into 16 bits, as of 16-bit files that Pillow opens with 32."""
    pixels = np.asarray(image)
    return bool(pixels.min() >= 0 and pixels.max() < 2**16)


def _array_to_rgb(image: np.ndarray) -> np.ndarray:
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


def folder_records(folder: str, *, recursive: bool = False, option: str = "folder") -> list[dict]:
    """Return one record per image file of a folder, sorted by name.

    Args:
        folder: path of the folder.
        recursive: search its subfolders too.
        option: what the caller calls the folder, for the error.

    Raises:
        InputError: there is no such folder, or it holds no image.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{option} '{folder}' is not a folder; give one that holds images.")
    entries = Path(folder).rglob("*") if recursive else Path(folder).iterdir()
    candidates = sorted(file for file in entries if file.suffix.lower() in IMAGE_SUFFIXES)
    files = [file for file in candidates if not file.is_dir()]
    if not files:
        raise InputError(
            f"{option} '{folder}' holds no images; files that end in {', '.join(IMAGE_SUFFIXES)} "
            f"count, subfolders {'too' if recursive else 'do not'}."
        )
    return [
        {"file_name": str(file), "image_id": str(file.relative_to(folder).as_posix())}
        for file in files
    ]


def spread_evenly(records: Sequence[dict], count: int) -> list[dict]:
    """Return ``count`` records, or all if there are fewer, evenly spread in order of image_id.

    The records in that order are cut into ``count`` stretches of (nearly) the same length; the
    middle one of each is taken, so the same data give the same images.
    """
    records = sorted(records, key=lambda record: record["image_id"])
    count = min(count, len(records))
    return [records[(2 * i + 1) * len(records) // (2 * count)] for i in range(count)]
