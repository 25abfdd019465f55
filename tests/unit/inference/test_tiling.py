"""Tiles of a large image: they cover it, and an object in several of them is returned once."""

import itertools

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.inference.tiling import merge_predictions, tile_boxes
from bpt_det.utils.errors import InputError

SIZE = (60, 90)


@pytest.mark.parametrize("size", [(100, 170), (64, 64), (10, 300), (65, 64), (3000, 1)])
@pytest.mark.parametrize("overlap", [0, 0.2, 0.5, 0.9])
def test_tiles_cover_the_image_and_overlap_as_much_as_asked(size, overlap):
    boxes = tile_boxes(*size, 64, overlap)
    is_seen = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        assert (y1 - y0, x1 - x0) == (min(64, size[0]), min(64, size[1]))
        is_seen[y0:y1, x0:x1] = True
    assert is_seen.all() and len(set(boxes)) == len(boxes)
    for axis in (0, 1):
        starts = sorted({box[axis] for box in boxes})
        assert all(64 - (b - a) >= int(64 * overlap) for a, b in itertools.pairwise(starts))


def test_no_more_tiles_than_needed():
    assert tile_boxes(64, 128, 64, 0) == [(0, 0, 64, 64), (64, 0, 128, 64)]
    assert len(tile_boxes(9000, 12000, 1024, 0.2)) == 11 * 15


@pytest.mark.parametrize(
    ("tile", "overlap", "fact"),
    [
        (15, 0.2, "tile must be an integer >= 16"),
        (64, 1, "overlap must be a share"),
        (64, 200, "got 200"),
    ],
)
def test_what_cannot_be_is_refused(tile, overlap, fact):
    with pytest.raises(InputError, match=fact):
        tile_boxes(100, 100, tile, overlap)


def objects(*rows, masks=True):
    """Instances of (class, score, (x0, y0, x1, y1)), each filling its box."""
    boxes = torch.tensor([row[2] for row in rows], dtype=torch.float32).reshape(-1, 4)
    pixels = torch.zeros(len(rows), *SIZE, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(pixels, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    fields = {"pred_masks": RunLengthMasks.from_pixels(pixels)} if masks else {}
    return Instances(
        SIZE,
        pred_boxes=Boxes(boxes),
        scores=torch.tensor([row[1] for row in rows]),
        pred_classes=torch.tensor([row[0] for row in rows], dtype=torch.long),
        **fields,
    )


def rows_of(instances):
    return [
        (class_index, round(score, 4), tuple(box))
        for class_index, score, box in zip(
            instances.pred_classes.tolist(),
            instances.scores.tolist(),
            instances.pred_boxes.tensor.tolist(),
            strict=True,
        )
    ]


@pytest.mark.parametrize("masks", [True, False])
def test_pieces_of_an_object_become_one(masks):
    """The second shares 60 % of itself with the first, and the third 40 %."""
    first = objects((1, 0.9, (10, 10, 40, 20)), masks=masks)
    second = objects((1, 0.8, (34, 10, 44, 20)), (1, 0.7, (36, 10, 46, 20)), masks=masks)
    merged = merge_predictions([first, second])
    assert rows_of(merged) == [(1, 0.9, (10, 10, 44, 20)), (1, 0.7, (36, 10, 46, 20))]
    if masks:
        assert merged.pred_masks.areas.tolist() == [340, 100]


@pytest.mark.parametrize("other", [(2, 0.8, (10, 10, 40, 20)), (1, 0.8, (50, 10, 80, 20))])
def test_another_class_or_place_is_another_object(other):
    merged = merge_predictions([objects((1, 0.9, (10, 10, 40, 20))), objects(other)])
    assert len(merged) == 2


def test_what_the_detector_has_told_apart_in_a_tile_stays_apart():
    tile = objects((1, 0.9, (10, 10, 40, 20)), (1, 0.8, (12, 10, 30, 20)))
    assert rows_of(merge_predictions([tile])) == rows_of(tile)
    assert len(merge_predictions([tile, objects((1, 0.95, (10, 10, 40, 20)))])) == 1


def test_masks_decide_where_boxes_overlap():
    """Two diagonals of one box: as boxes they are one object, as masks two."""
    first, second = (objects((1, score, (10, 10, 30, 30))) for score in (0.9, 0.8))
    diagonal = torch.zeros(1, *SIZE, dtype=torch.bool)
    for i in range(10, 30):
        diagonal[0, i, i] = True
    first.pred_masks = RunLengthMasks.from_pixels(diagonal)
    second.pred_masks = RunLengthMasks.from_pixels(diagonal.flip(1).roll(-20, 1))
    assert len(merge_predictions([first, second])) == 2


@pytest.mark.parametrize("masks", [True, False])
def test_tiles_without_objects(masks):
    empty = objects(masks=masks)
    assert len(merge_predictions([empty, empty])) == 0
    single = objects((0, 0.5, (0, 0, 5, 5)), masks=masks)
    assert rows_of(merge_predictions([empty, single])) == [(0, 0.5, (0, 0, 5, 5))]


def merge_slowly(parts, threshold):
    """The same by sets of pixels."""
    entries = sorted(
        (
            (-score, tile, class_index, {tuple(p) for p in mask.nonzero().tolist()})
            for tile, part in enumerate(parts)
            for score, class_index, mask in zip(
                part.scores.tolist(), part.pred_classes.tolist(), part.pred_masks, strict=True
            )
        ),
        key=lambda entry: entry[0],
    )
    merged = []
    while entries:
        score, tile, class_index, pixels = entries.pop(0)
        union, rest = set(pixels), []
        for entry in entries:
            share = len(pixels & entry[3]) / min(len(pixels), len(entry[3]))
            if entry[1] != tile and entry[2] == class_index and share > threshold:
                union |= entry[3]
            else:
                rest.append(entry)
        entries = rest
        merged.append((class_index, round(-score, 4), len(union)))
    return merged


@pytest.mark.parametrize("seed", range(5))
def test_equals_merging_by_sets_of_pixels(seed):
    random = np.random.default_rng(seed)
    parts = []
    for _ in range(3):
        corners = random.integers(0, 40, (8, 2))
        sides = random.integers(4, 20, (8, 2))
        rows = [
            (int(random.integers(2)), float(random.random()), (x, y, x + w, y + h))
            for (x, y), (w, h) in zip(corners.tolist(), sides.tolist(), strict=True)
        ]
        parts.append(objects(*rows))
    merged = merge_predictions(parts, 0.5)
    actual = [
        (c, s, a) for (c, s, _), a in zip(rows_of(merged), merged.pred_masks.areas, strict=True)
    ]
    assert actual == merge_slowly(parts, 0.5) and len(actual) < 24
