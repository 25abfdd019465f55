"""Reading run-length codes without trusting them; pycocotools reads past the end of broken ones."""

import numpy as np

_FIRST, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10  # of COCO's code, common/maskApi.c in cocoapi
_LARGEST = 2**32  # a run is an unsigned 32-bit number
_LONGEST = 7  # characters of one


class UnusableRle(ValueError):
    """A mask that cannot be decoded; holds the kind of finding, see `KINDS`, and its detail."""


def decode_rle(rle: dict, height: int, width: int) -> np.ndarray:
    """Return the lengths of the runs, (n,) int64, of a mask as it should be in an image.

    pycocotools decodes broken ones without an error, or reads past their end.

    Raises:
        UnusableRle: the code is malformed, or of another size than the image.
    """
    size = rle.get("size")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        detail = f"size is {size!r}, not the image's [height, width] [{height}, {width}]"
        raise UnusableRle("rle_size", detail)
    try:
        counts = decode_counts(rle.get("counts"))
    except ValueError as error:
        raise UnusableRle("rle_malformed", str(error)) from error
    total = int(counts.sum())
    if total != height * width:
        detail = f"its runs sum up to {total}, not {height} x {width} pixels"
        raise UnusableRle("rle_malformed", detail)
    return counts


def decode_counts(counts: object) -> np.ndarray:
    """Return the lengths of the runs, (n,) int64, of COCO's code as text, bytes or list.

    In the text, a number is a row of characters of 5 bits each, lowest first, with a sign; from
    the fourth on, it is the difference to the number two before.

    Raises:
        ValueError: the code is malformed, or a run has a negative length.
    """
    if isinstance(counts, list):
        if not all(type(count) is int and abs(count) < _LARGEST for count in counts):
            raise ValueError("counts holds something else than whole numbers of 32 bits")
        numbers = np.array(counts, dtype=np.int64)
    elif isinstance(counts, str | bytes):
        text = counts if isinstance(counts, str) else counts.decode("latin-1")
        numbers = _decode_text(text)
    else:
        raise ValueError(f"counts is of type {type(counts).__name__}, not text or list")
    if numbers.size and numbers.min() < 0:
        raise ValueError("a run has a negative length")
    return numbers


def _decode_text(text: str) -> np.ndarray:
    if not text or not text.isascii():
        raise ValueError("counts is no code")
    codes = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - _FIRST
    is_last = (codes & _MORE) == 0
    if codes.min() < 0 or codes.max() >= 2 * _MORE or not is_last[-1]:
        raise ValueError("counts is cut off or no code")
    starts = np.flatnonzero(np.concatenate([[True], is_last[:-1]]))
    lengths = np.diff(starts, append=len(codes))
    if lengths.max() > _LONGEST:
        raise ValueError("counts is no code")
    shifts = _BITS * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & (_MORE - 1)) << shifts, starts)
    is_negative = (codes[is_last] & _SIGN) != 0
    numbers -= np.where(is_negative, 1 << (_BITS * lengths), 0)
    for first in (1, 2):  # runs of the mask, and of the background after the first
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
