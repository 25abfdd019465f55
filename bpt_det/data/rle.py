"""COCO run-length codec: masks as lengths of runs, to and from COCO's compressed text.

Runs go down the columns of a mask, background first. In the text, a number is a row of characters
of 5 bits each, lowest first, with a sign; from the fourth on, it is the difference to the number
two before. Source: rleToString and rleFrString of cocodataset/cocoapi common/maskApi.c.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_FIRST, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10
_LARGEST = 2**32  # a run is an unsigned 32-bit number
_LONGEST = 7  # characters of one


class RleError(ValueError):
    """A run-length code that cannot be decoded; pycocotools would read past its end."""


class RleSizeError(RleError):
    """A run-length code of another size than its image."""


def decode_rle(rle: dict, height: int, width: int) -> np.ndarray:
    """Return the lengths of the runs, (n,) int64, of a mask as it should be in an image.

    Raises:
        RleError: the code is malformed, or of another size than the image.
    """
    size = rle.get("size")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise RleSizeError(f"size is {size!r}, not the image's [height, width] [{height}, {width}]")
    lengths = decode_counts(rle.get("counts"))
    total = int(lengths.sum())
    if total != height * width:
        raise RleError(f"its runs sum up to {total}, not {height} x {width} pixels")
    return lengths


def decode_counts(counts: object) -> np.ndarray:
    """Return the lengths of the runs, (n,) int64, of COCO's code as text, bytes or list.

    Raises:
        RleError: the code is malformed, or a run has a negative length.
    """
    if isinstance(counts, list):
        if not all(type(count) is int and abs(count) < _LARGEST for count in counts):
            raise RleError("counts holds something other than 32-bit integers")
        lengths = np.array(counts, dtype=np.int64)
    elif isinstance(counts, str | bytes):
        lengths = _decode_text(counts if isinstance(counts, str) else counts.decode("latin-1"))
    else:
        raise RleError(f"counts is of type {type(counts).__name__}, not text or list")
    if lengths.size and lengths.min() < 0:
        raise RleError("a run has a negative length")
    return lengths


def _decode_text(text: str) -> np.ndarray:
    if not text or not text.isascii():
        raise RleError("counts is not a valid RLE code")
    codes = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - _FIRST
    is_last = (codes & _MORE) == 0
    if codes.min() < 0 or codes.max() >= 2 * _MORE or not is_last[-1]:
        raise RleError("counts is truncated or not a valid RLE code")
    starts = np.flatnonzero(np.concatenate([[True], is_last[:-1]]))
    num_characters = np.diff(starts, append=len(codes))
    if num_characters.max() > _LONGEST:
        raise RleError("counts is not a valid RLE code")
    shifts = _BITS * (np.arange(len(codes)) - np.repeat(starts, num_characters))
    numbers = np.add.reduceat((codes & (_MORE - 1)) << shifts, starts)
    is_negative = (codes[is_last] & _SIGN) != 0
    numbers -= np.where(is_negative, 1 << (_BITS * num_characters), 0)
    for first in (1, 2):  # runs of the mask, and of the background after the first
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def encode_counts(lengths: np.ndarray, num_runs: np.ndarray) -> list[str]:
    """Return COCO's text of several masks.

    Args:
        lengths: of the runs, one mask after the other, int64.
        num_runs: how many of them each mask has, at least 1.
    """
    if not len(num_runs):
        return []
    end = np.cumsum(num_runs)
    position = np.arange(len(lengths)) - np.repeat(end - num_runs, num_runs)  # within its mask
    rest = lengths.copy()
    rest[2:] -= np.where(position[2:] > 2, lengths[:-2], 0)
    characters, is_used = [], [np.ones(len(rest), bool)]
    while is_used[-1].any():
        bits = rest & (_MORE - 1)
        rest = rest >> _BITS
        goes_on = np.where(bits & _SIGN, rest != -1, rest != 0)
        characters.append((bits + _MORE * goes_on + _FIRST).astype(np.uint8))
        is_used.append(is_used[-1] & goes_on)
    used = np.stack(is_used[:-1], axis=1)
    text = np.stack(characters, axis=1)[used].tobytes().decode("ascii")
    stops = np.cumsum(used.sum(axis=1))[end - 1].tolist()
    return [text[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def encode_segmentation(
    segmentation: Sequence | dict[str, Any], height: int, width: int
) -> dict[str, Any]:
    """Return a mask in COCO's format, polygons or runs as list or text, as compressed run lengths.

    Args:
        segmentation: of an annotation.
        height: of the image, pixels.
        width: of it.
    """
    if not isinstance(segmentation, dict):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def mask_areas(codes: Iterable[dict[str, Any]]) -> np.ndarray:
    """Return the pixels of each mask, (N,) int64, of compressed run lengths."""
    # One by one: pycocotools 2.0.11 fails on a list of more than 255.
    return np.array([coco_mask.area(code) for code in codes], np.int64)
