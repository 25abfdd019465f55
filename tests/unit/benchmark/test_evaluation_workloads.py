"""Evaluation workloads: ours and Detectron2's, on simulated predictions."""

import json

import numpy as np
import pytest
import torch
from detectron2.structures import BoxMode

from bpt_det.benchmark.evaluation_workloads import SimulatedResults, build_evaluation, build_scoring
from bpt_det.benchmark.synthetic import simulate_predictions
from bpt_det.config import load_config
from bpt_det.utils.errors import InputError
from tests.support.detectors import ROOT, shrink, use_shapes

RECORD = {
    "height": 90,
    "width": 120,
    "annotations": [
        {"bbox": [10.0, 20, 40, 30], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 3},
        {"bbox": [0.0, 0, 9, 9], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 5, "iscrowd": 1},
        {"bbox": [60.0, 8, 50, 70], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 1},
    ],
}


@pytest.fixture
def cfg(shapes_root):
    return use_shapes(shrink(load_config(str(ROOT / "configs/coco/cascade_bpt_s.py"))), shapes_root)


def test_true_boxes_come_first_and_all_lie_in_the_image():
    instances = simulate_predictions(RECORD, num_classes=7, seed=2)
    boxes = instances.pred_boxes.tensor
    assert len(instances) == 100 and instances.image_size == (90, 120)
    assert (boxes >= 0).all() and (boxes <= torch.tensor([120, 90] * 2)).all()
    torch.testing.assert_close(boxes[0], torch.tensor([10.0, 20, 50, 50]), atol=8, rtol=0)
    torch.testing.assert_close(boxes[1], torch.tensor([60.0, 8, 110, 78]), atol=12, rtol=0)
    assert (instances.scores[:2] >= 0.5).all() and 0 <= instances.pred_classes.min()
    assert instances.pred_classes.max() < 7 and instances.pred_masks.shape == (100, 1, 28, 28)
    assert 0 < instances.pred_masks.min() < 0.5 < instances.pred_masks.max() < 1


def test_the_seed_decides():
    first, same, other = (simulate_predictions(RECORD, 7, seed) for seed in (2, 2, 3))
    assert torch.equal(first.pred_masks, same.pred_masks)
    assert not torch.equal(first.pred_boxes.tensor, other.pred_boxes.tensor)


def test_an_image_without_objects_has_invented_ones():
    assert len(simulate_predictions({**RECORD, "annotations": []}, 7, seed=2)) == 100


def run_all(comparison):
    for workload in comparison.workloads:
        workload.run()
    return comparison.metrics["ours"], comparison.metrics["detectron2"]


def test_evaluations_agree_on_all_numbers(cfg):
    comparison = build_evaluation(SimulatedResults(cfg, num_images=4, seed=0))
    for _ in range(2):  # a run leaves nothing that changes the next
        ours, theirs = run_all(comparison)
        for task in ("bbox", "segm"):
            assert ours[task].shape == (12,) and ours[task][0] > 0
            np.testing.assert_allclose(ours[task], theirs[task], rtol=0, atol=1e-12)
    assert "24 metrics differ by at most " in comparison.describe()
    assert [workload.batch_size for workload in comparison.workloads] == [4, 4]


def test_scoring_repeats_the_images_under_new_ids(cfg):
    """Of whole repetitions the rates are those of one."""
    simulated = SimulatedResults(cfg, num_images=3, seed=0)
    once, _ = run_all(build_scoring(simulated, 3))
    comparison = build_scoring(simulated, 6)
    for _ in range(2):
        ours, theirs = run_all(comparison)
        for task in ("bbox", "segm"):
            np.testing.assert_allclose(ours[task], theirs[task], rtol=0, atol=1e-12)
            assert ours[task][0] == pytest.approx(once[task][0], abs=0.02)


def test_missing_data_are_refused(cfg, tmp_path):
    cfg.dataloader.test.dataset.update(
        names="unwritten_val", json_file=str(tmp_path / "no.json"), image_root=str(tmp_path)
    )
    with pytest.raises(InputError, match="does not exist"):
        SimulatedResults(cfg, num_images=3, seed=0)


def test_data_without_annotations_are_refused(cfg, tmp_path, shapes_root):
    content = json.loads((shapes_root / "annotations/instances_val.json").read_text())
    del content["annotations"]
    path = tmp_path / "images.json"
    path.write_text(json.dumps(content))
    cfg.dataloader.test.dataset.update(names="only_images", json_file=str(path))
    with pytest.raises(InputError, match="dataset 'only_images' has no annotations"):
        SimulatedResults(cfg, num_images=3, seed=0)
