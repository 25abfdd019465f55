"""Run-length codec: both directions equal pycocotools, and nothing is read past the end."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from bpt_det.data.rle import RleError, RleSizeError, decode_counts, decode_rle, encode_counts


def run_lengths(mask):
    """Lengths of the runs down the columns, the first of background."""
    pixels = [int(value) for column in mask.T for value in column]
    runs = [(value, len(list(group))) for value, group in itertools.groupby(pixels)]
    return [0] * (runs[0][0] == 1) + [length for _, length in runs]


def encoded(mask):
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


masks = arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))
long_runs = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=12)


@given(masks)
def test_codes_of_pycocotools_are_read(mask):
    assert decode_counts(encoded(mask)).tolist() == run_lengths(mask)
    code = {"size": list(mask.shape), "counts": encoded(mask)}
    assert decode_rle(code, *mask.shape).tolist() == run_lengths(mask)


@given(st.lists(masks, max_size=5))
def test_several_masks_are_encoded_as_pycocotools_encodes_each(masks):
    lengths = [run_lengths(mask) for mask in masks]
    flat = np.array(list(itertools.chain(*lengths)), dtype=np.int64)
    num_runs = np.array([len(runs) for runs in lengths], dtype=np.int64)
    assert encode_counts(flat, num_runs) == [encoded(mask) for mask in masks]


@given(long_runs)
def test_runs_of_any_length_come_back(runs):
    (text,) = encode_counts(np.array(runs, dtype=np.int64), np.array([len(runs)]))
    assert decode_counts(text).tolist() == runs


@pytest.mark.parametrize("runs", [[2**20, 3, 2**20 - 7, 2**16, 2], [2**21 - 5, 2**19]])
def test_long_runs_are_written_as_pycocotools_writes_them(runs):
    height, width = sum(runs), 1
    code = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    assert encode_counts(np.array(runs), np.array([len(runs)])) == [code["counts"].decode()]


def test_a_code_in_bytes_is_that_in_text():
    assert decode_counts(b"345").tolist() == decode_counts("345").tolist()


def test_a_list_is_taken_as_it_is():
    assert decode_counts([3, 4, 5]).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "counts is not a valid RLE code"),
        ("é", "counts is not a valid RLE code"),
        ("P", "counts is truncated or not a valid RLE code"),  # 32 says that more follows
        ("12 4", "counts is truncated or not a valid RLE code"),
        ("P" * 12 + "0", "counts is not a valid RLE code"),
        ("O", "a run has a negative length"),
        ([3, -1], "a run has a negative length"),
        ([3, 1.5], "counts holds something other than 32-bit integers"),
        ([2**32], "counts holds something other than 32-bit integers"),
        ([True], "counts holds something other than 32-bit integers"),
        (None, "counts is of type NoneType, not text or list"),
    ],
)
def test_a_malformed_code_is_refused(counts, message):
    with pytest.raises(RleError, match=f"^{message}$"):
        decode_counts(counts)


@pytest.mark.parametrize(
    ("size", "counts", "error", "message"),
    [
        ([3, 2], [6], RleSizeError, r"size is \[3, 2\], not .* \[2, 3\]"),
        (None, [6], RleSizeError, "size is None"),
        ([2, 3], [5], RleError, "sum up to 5, not 2 x 3"),
    ],
)
def test_a_code_that_does_not_fit_its_image_is_refused(size, counts, error, message):
    with pytest.raises(error, match=message):
        decode_rle({"size": size, "counts": counts}, 2, 3)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        assert decode_counts(text).min() >= 0
    except RleError:
        pass
