"""Masks as run lengths that do not add up: evaluation would never end on them."""

import pytest

from bpt_det.detection import load_dataset
from bpt_det.utils.errors import InputError
from tests.support.coco_datasets import RLE, entry, write_data


def load(folder, segmentation):
    """Load a dataset of one image, 12 x 14 pixels, with two objects."""
    source = write_data(folder, annotations=[entry(1), entry(2, segmentation)])
    json_file, image_root = source.rsplit(":", 1)
    return load_dataset(source, json_file=json_file, image_root=image_root)


@pytest.mark.parametrize("counts", [RLE["counts"], "?6c4"])  # the same mask, as list and as text
def test_masks_whose_runs_add_up_are_loaded(tmp_path, counts):
    (record,) = load(tmp_path, {**RLE, "counts": counts})
    assert len(record["annotations"]) == 2


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"counts": [15, 6, 5]}, "its runs sum up to 26, not 12 x 14 pixels"),
        ({"counts": "zzz"}, "counts is truncated or not a valid RLE code"),
        (
            {"size": [14, 12]},
            "size is [14, 12], not the image's [height, width] [12, 14]",
        ),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_before_the_run(tmp_path, change, fault):
    with pytest.raises(InputError) as caught:
        load(tmp_path, {**RLE, **change})
    for fact in (tmp_path / "train.json", "image 3, a.jpg", fault):
        assert str(fact) in str(caught.value)
    assert caught.value.hint == "check_dataset"
