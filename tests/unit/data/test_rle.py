"""Run-length codes: the same lengths as pycocotools wrote, and nothing read past the end."""

import itertools

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bpt_det.data.rle import decode_counts


def run_lengths(mask):
    """Lengths of the runs down the columns, the first of background."""
    pixels = [int(value) for column in mask.T for value in column]
    runs = [(value, len(list(group))) for value, group in itertools.groupby(pixels)]
    return [0] * (runs[0][0] == 1) + [length for _, length in runs]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97, 1.0])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (300, 411)])
def test_codes_of_pycocotools_are_read(share, height, width):
    mask = np.random.default_rng(0).random((height, width)) < share
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    assert decode_counts(code).tolist() == run_lengths(mask)


def test_a_code_in_bytes_is_that_in_text():
    assert decode_counts(b"345").tolist() == decode_counts("345").tolist()


def test_a_list_is_taken_as_it_is():
    assert decode_counts([3, 4, 5]).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "counts is no code"),
        ("é", "counts is no code"),
        ("P", "counts is cut off or no code"),  # 32 says that more follows
        ("12 4", "counts is cut off or no code"),
        ("P" * 12 + "0", "counts is no code"),
        ("O", "a run has a negative length"),
        ([3, -1], "a run has a negative length"),
        ([3, 1.5], "counts holds something else than whole numbers of 32 bits"),
        ([2**32], "counts holds something else than whole numbers of 32 bits"),
        ([True], "counts holds something else than whole numbers of 32 bits"),
        (None, "counts is of type NoneType, not text or list"),
    ],
)
def test_a_malformed_code_is_refused(counts, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        decode_counts(counts)
