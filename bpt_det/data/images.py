"""Image reader: files, zip members, PIL images and arrays as RGB (H, W, 3), uint8.

There is one rule for all tasks, for training, evaluation, prediction and the checks: an image is
turned upright once, transparency is dropped, more than 8 bits per channel are scaled to 8, and of
several frames or pages the first is read. What has no clear meaning is refused with its name.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from bpt_det.utils.errors import InputError
from bpt_det.utils.limits import Limit

from .archives import UNREADABLE, open_file, unreadable
from .listing import describe_left_out, list_folder

# What Pillow may try: no format that starts a program (EPS), and none without a mark of its own.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_HEIF_SUFFIXES = (".heic", ".heif", ".hif") if find_spec("pillow_heif") else ()
IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", *_HEIF_SUFFIXES, ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
MAX_PIXELS = Limit("BPT_DET_MAX_PIXELS", 178_956_970, "pixels")  # Pillow's own limit

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
_QUARTER_TURNS = (5, 6, 7, 8)  # orientations that swap height and width
_SUBFILE_TYPE, _BITS_PER_SAMPLE, _MAX_SAMPLE, _SUB_IFDS = 254, 258, 281, 330  # TIFF tags
_CLEAR_BITS = 14  # an image of 16 bits whose values need fewer may be one of 10, 12 or 14 bits

# By a pattern of the first bytes: what a file of no known format is, and what to do with it.
_OTHER_FILES = (
    (
        rb".{4}ftyp(hei|hev|mif1|msf1)",
        "HEIC, as phones write it",
        "pip install pillow-heif to have it read, or convert it to JPEG",
    ),
    (rb".{4}ftypavi[fs]", "AVIF, which this Pillow does not read", "pip install -U pillow"),
    (rb"$", "empty", "copy it again"),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the image itself", "git lfs pull"),
    (rb"\s*<(!doctype html|html|head|svg|\?xml)", "a web page or drawing", "get the image itself"),
    (rb"%!PS|%PDF|\xc5\xd0\xd3\xc6", "PostScript or PDF, which is never opened", "convert it"),
    (rb"\x00\x05\x16[\x00\x07]", "what macOS keeps beside a file, no image", "remove it"),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI|\x00\x00\x01[\xba\xb3]", "a video", "remove it"),
    (rb"PK\x03\x04", "a zip archive", "unpack it"),
)

logger = logging.getLogger(__name__)
_MULTI_FRAME_SAID: list[str] = []  # the first such image of this process


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Return the image in a file, upright, (H, W, 3) uint8, RGB; transparency is dropped.

    These are the pixels of Detectron2's `read_image`, but for more than 8 bits per channel, which
    that clips to white, and for TIFF, which that turns twice.

    Args:
        path: of a file, or ``ARCHIVE.zip/inner/path``.

    Raises:
        InputError: it is missing, no regular file, cannot be decoded, has more pixels than are
            allowed (``BPT_DET_MAX_PIXELS``), or values whose range is not known.
    """
    with open_file(path) as stream:
        return decode_rgb(stream, path)


def read_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return height and width of what `read_rgb` returns, from the header where it says them.

    Raises:
        InputError: the file is missing, or its header is not that of an image, see `read_rgb`.
    """
    try:
        with open_file(path) as stream, Image.open(stream, formats=_formats()) as image:
            if image.format != "TIFF":  # whose orientation counts once it is loaded
                is_turned = image.getexif().get(_ORIENTATION) in _QUARTER_TURNS
                return image.size if is_turned else image.size[::-1]
    except Exception:  # whatever damaged files lead Pillow to: the reader says what is wrong
        pass
    height, width, _ = read_rgb(path).shape
    return height, width


def decode_rgb(stream: BinaryIO, name: str | os.PathLike) -> np.ndarray:
    """Return the image in an open file, see `read_rgb`; ``name`` is for the error."""
    what = f"image '{os.fspath(name)}'"
    try:
        _let_pillow_open(MAX_PIXELS.value)
        with Image.open(stream, formats=_formats()) as image:
            MAX_PIXELS.check(image.width * image.height, what)
            _check_frames(image, what)
            return _convert(image, what)
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{what} cannot be read ({_describe_other(stream)}.") from error
    except Image.DecompressionBombError as error:  # Pillow's limit is asked before ours
        count = re.search(r"\d{4,}", str(error))
        MAX_PIXELS.check(int(count[0]) if count else 2**40, what)
        raise unreadable(name, error, "image ") from error
    except UNREADABLE as error:
        raise unreadable(name, error, "image ") from error


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
        return _convert(image, "the image")
    if isinstance(image, np.ndarray):
        return _array_to_rgb(image)
    raise InputError(
        f"an image must be a NumPy array, a PIL image or a path, got {type(image).__name__}."
    )


@cache
def _formats() -> list[str]:
    """Return the formats that Pillow may try, those of `_FORMATS` that are installed."""
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    if _HEIF_SUFFIXES:
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats.append("HEIF")
    return formats


def _let_pillow_open(num_pixels: int) -> None:
    """Raise Pillow's own limit, beyond which it refuses twice the number, if ours is larger."""
    own = Image.MAX_IMAGE_PIXELS
    if num_pixels > MAX_PIXELS.default and own is not None and 2 * own < num_pixels:
        Image.MAX_IMAGE_PIXELS = num_pixels // 2 + 1


def _check_frames(image: Image.Image, what: str) -> None:
    """Say once that of several frames the first is read, and refuse a first one that is no image.

    MPO files of cameras have a first frame that is the photograph.

    Raises:
        InputError: the first page is a preview of another one.
    """
    is_animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_SUBFILE_TYPE) == 1 and (is_animated or _SUB_IFDS in tags):
        raise InputError(
            f"{what} begins with a small preview of another page, as raw photographs do; convert "
            "it to an image of one page."
        )
    if is_animated and not _MULTI_FRAME_SAID:
        _MULTI_FRAME_SAID.append(what)
        logger.warning("%s has several frames or pages; of each such file the first is read", what)


def _describe_other(stream: BinaryIO) -> str:
    """Return what a file of no known format is, a closing bracket, and what to do with it."""
    stream.seek(0)
    head = stream.read(512)
    for pattern, kind, advice in _OTHER_FILES:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"it is {kind}); {advice}"
    return f"it is of none of the formats {', '.join(_formats())}); restore or convert it"


def _convert(image: Image.Image, what: str) -> np.ndarray:
    layout = str(getattr(image, "tile", ""))
    image.load()  # turns a TIFF and drops its orientation, so its orientation is looked at after it
    image = _turn_upright(image)
    if image.mode == "F" or (image.mode == "I" and not _fits_16_bits(image)):
        raise InputError(
            f"{what} has values of no known range (Pillow's mode '{image.mode}'); save it with 8 "
            "bits per channel."
        )
    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.uint16)
        return _array_to_rgb(_to_8_bits(pixels, _num_bits(image), what))
    if image.mode in ("P", "PA"):  # straight to RGB, Pillow warns of transparency that is lost
        image = image.convert("RGBA")
    pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    if ";16" in layout:  # Pillow has kept the upper 8 of 16 bits
        _check_range(int(pixels.max()) << 8, what)
    return pixels


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


def _num_bits(image: Image.Image) -> int:
    """Return the bits of a gray image's values: what a TIFF says of itself, or else 16."""
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE)
    highest = tags.get(_MAX_SAMPLE)
    if isinstance(highest, tuple):
        highest = highest[0]
    if isinstance(highest, int) and 2**8 <= highest < 2**16:
        return highest.bit_length()
    if isinstance(bits, tuple) and bits and 8 < bits[0] <= 16:
        return bits[0]
    return 16


def _to_8_bits(pixels: np.ndarray, num_bits: int, what: str) -> np.ndarray:
    """Return values of up to 16 bits as uint8."""
    highest = int(pixels.max())
    if num_bits == 16:
        _check_range(highest, what)
    elif highest >= 2**num_bits:
        raise InputError(
            f"{what} says to have {num_bits} bits per channel but has the value {highest}; save it "
            "with 8 bits per channel."
        )
    return (pixels >> (num_bits - 8)).astype(np.uint8)


def _check_range(highest: int, what: str) -> None:
    if 0 < highest < 2**_CLEAR_BITS:
        raise InputError(
            f"{what} has 16 bits per channel but no value above {highest}: it may be of "
            f"{max(9, highest.bit_length())} bits, and would be nearly black; save all images with "
            "8 bits per channel, scaled by one factor."
        )


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
        image = _to_8_bits(image, 16, "the image")
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3])


def is_image_name(path: str) -> bool:
    """Whether a file counts as an image, by its suffix."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def select_images(files: Iterable[str], left_out: Counter[str], where: str) -> list[str]:
    """Return the images among files, sorted; one line says what is left out.

    Args:
        files: paths.
        left_out: by kind, the number of files that have been left out before.
        where: the place, for that line.
    """
    files = sorted(files)
    others = Counter(_suffix(path) for path in files if not is_image_name(path))
    warn_of_left_out(left_out + others, where)
    return [path for path in files if is_image_name(path)]


def warn_of_left_out(left_out: Counter[str], where: str) -> None:
    """Log how many files are left out of a place, by kind, if any are."""
    if left_out:
        text = "%s: left out: %s%s; images end in %s"
        is_heif = not _HEIF_SUFFIXES and left_out.keys() & {".heic", ".heif", ".hif"}
        advice = "; pip install pillow-heif to have HEIC read" if is_heif else ""
        counts, known = describe_left_out(left_out), ", ".join(IMAGE_SUFFIXES)
        logger.warning(text, where, counts, advice, known)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower() or "without suffix"


def folder_records(folder: str, *, recursive: bool = False, option: str = "folder") -> list[dict]:
    """Return one record per image file of a folder, sorted by name; what is left out is logged.

    Args:
        folder: path of the folder.
        recursive: search its subfolders too.
        option: what the caller calls the folder, for the error.

    Raises:
        InputError: there is no such folder, or it holds no image.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{option} '{folder}' is not a folder; give one that holds images.")
    listing = list_folder(folder, recursive=recursive)
    files = select_images(listing.files, listing.left_out, f"{option} '{folder}'")
    if not files:
        raise InputError(
            f"{option} '{folder}' holds no images; files that end in {', '.join(IMAGE_SUFFIXES)} "
            f"count, subfolders {'too' if recursive else 'do not'}."
        )
    return [{"file_name": os.path.join(folder, file), "image_id": file} for file in files]


def spread_evenly(records: Sequence[dict], count: int) -> list[dict]:
    """Return ``count`` records, or all if there are fewer, evenly spread in order of image_id.

    The records in that order are cut into ``count`` stretches of (nearly) the same length; the
    middle one of each is taken, so the same data give the same images.
    """
    records = sorted(records, key=lambda record: record["image_id"])
    count = min(count, len(records))
    return [records[(2 * i + 1) * len(records) // (2 * count)] for i in range(count)]
