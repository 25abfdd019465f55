"""Packed results: what was packed comes back, and scoring in groups of categories."""

import io
import json

import numpy as np
import pytest
from faster_coco_eval import COCO

from bpt_det.detection.evaluation import scoring
from bpt_det.detection.evaluation.packed_results import PackedResults

RESULTS = [
    {"image_id": "b", "category_id": 2, "bbox": [1.5, 2.0, 3.25, 4.0], "score": 0.1},
    {"image_id": "a", "category_id": 0, "bbox": [0.1, 0.0, 9.0, 7.0], "score": 0.7},
    {"image_id": "b", "category_id": 1, "bbox": [5.0, 6.0, 1.0, 2.0], "score": 1 / 3},
]
MASKS = [{"size": [8, 9], "counts": "`0:"}, None, {"size": [7, 5], "counts": "12o3\\\\"}]


def with_masks():
    return [
        {**result, "segmentation": mask} if mask else result
        for result, mask in zip(RESULTS, MASKS, strict=True)
    ]


def test_what_is_packed_comes_back_exactly():
    packed = PackedResults.pack(with_masks(), ["a", "b", "c"])
    assert len(packed) == 3 and list(packed) == with_masks()
    assert packed.image_ids == ["a", "b", "c"]


def test_joined_results_are_those_of_the_parts():
    parts = [
        PackedResults.pack(with_masks()[1:2], ["a"]),
        PackedResults.pack([], ["c"]),
        PackedResults.pack([with_masks()[0], with_masks()[2]], ["b"]),
    ]
    joined = PackedResults.join(parts)
    assert joined.image_ids == ["a", "c", "b"]
    assert list(joined) == [with_masks()[i] for i in (1, 0, 2)]
    assert list(PackedResults.join([])) == []


def test_some_are_taken_by_index_by_condition_and_by_image():
    packed = PackedResults.pack(with_masks(), ["a", "b"])
    assert list(packed.take(np.array([2, 0]))) == [with_masks()[2], with_masks()[0]]
    assert list(packed.take(packed.scores > 0.5)) == [RESULTS[1]]
    assert list(packed.of_images(["b", "unknown"])) == [with_masks()[0], with_masks()[2]]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_file_holds_all_with_other_category_ids(count, monkeypatch):
    monkeypatch.setattr("bpt_det.detection.evaluation.packed_results._WRITTEN", 2)
    results = (with_masks() * 2)[:count]
    file = io.StringIO()
    PackedResults.pack(results, ["a", "b"]).write_json(file, {0: 7, 1: "x", 2: 9})
    expected = [{**r, "category_id": (7, "x", 9)[r["category_id"]]} for r in results]
    assert json.loads(file.getvalue()) == expected


@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_scores_in_groups_of_categories_are_those_of_all_at_once(most, monkeypatch):
    random = np.random.default_rng(4)
    truth = {"images": [{"id": i, "height": 90, "width": 80} for i in (1, 2, 3)], "annotations": []}
    truth["categories"] = [{"id": i, "name": str(i)} for i in range(1, 7)]
    results = []
    for i in range(40):
        box = [*random.uniform(0, 40, 2).tolist(), *random.uniform(5, 40, 2).tolist()]
        entry = {"image_id": int(random.integers(1, 4)), "category_id": int(random.integers(1, 6))}
        area = {"id": i + 1, "area": box[2] * box[3], "iscrowd": 0}
        truth["annotations"].append({**entry, **area, "bbox": box})
        moved = (np.array(box) * random.uniform(0.8, 1.2, 4)).tolist()
        results.append({**entry, "bbox": moved, "score": float(random.integers(1, 9) / 9)})
    packed, image_ids = PackedResults.pack(results, [1, 2, 3]), [1, 2, 3]
    expected = scoring.score_results(COCO(truth), packed, "bbox", image_ids)
    monkeypatch.setattr(scoring, "_MOST_PREDICTIONS", most)
    groups = list(scoring._groups(packed.category_ids, [1, 2, 3, 4, 5, 6], None))
    assert sum(groups, []) == [1, 2, 3, 4, 5, 6] and (len(groups) > 1) == (most < 1000)
    actual = scoring.score_results(COCO(truth), packed, "bbox", image_ids)
    assert np.array_equal(actual.stats, expected.stats) and 0.1 < actual.stats[0] < 0.9
    for name in ("precision", "recall", "scores"):
        assert np.array_equal(actual.eval[name], expected.eval[name])
