"""A detector that does not paste its masks, against itself with Detectron2's pasting."""

import pytest
import torch
from detectron2.config import instantiate
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import ROIMasks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bpt_det.detection.evaluation.roi_mask_detector import (
    RoiMaskDetector,
    roi_instances_to_coco,
    without_pasting,
)
from bpt_det.engine import evaluation
from tests.support.predictors import write_run


@pytest.fixture(scope="module")
def cfg(tmp_path_factory, shapes_root):
    return write_run(tmp_path_factory.mktemp("run"), shapes_root)


@pytest.fixture
def detector(cfg):
    torch.manual_seed(0)
    return instantiate(cfg.model).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(7)
    sizes = {(64, 48): (96, 72), (48, 64): (33, 44), (64, 64): None}
    samples = []
    for size, original in sizes.items():
        samples.append({"image": 255 * torch.rand(3, *size, generator=generator)})
        if original is not None:
            samples[-1] |= dict(zip(("height", "width"), original, strict=True))
    return samples


@torch.no_grad()
def test_results_are_those_of_the_detector(detector, batch):
    expected = [instances_to_coco_json(o["instances"], i) for i, o in enumerate(detector(batch))]
    outputs = RoiMaskDetector(detector)(batch)
    assert all(isinstance(o["instances"].roi_masks, ROIMasks) for o in outputs)
    assert not any(o["instances"].has("pred_masks") for o in outputs)
    results = [roi_instances_to_coco(o["instances"], i) for i, o in enumerate(outputs)]
    assert results == expected and all(results)
    assert any(result["segmentation"]["counts"] != "" for result in results[0])


@torch.no_grad()
def test_predictions_of_a_detector_as_it_is_are_taken_too(detector, batch):
    (output,) = detector(batch[:1])
    expected = instances_to_coco_json(output["instances"], 5)
    assert roi_instances_to_coco(output["instances"], 5) == expected


@torch.no_grad()
def test_a_detector_without_masks(cfg, batch):
    model = instantiate(cfg.model).eval()
    model.roi_heads.mask_on = False
    (output,) = RoiMaskDetector(model)(batch[:1])
    results = roi_instances_to_coco(output["instances"], 5)
    assert results and not any("segmentation" in result for result in results)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_mode_is_that_of_the_detector(detector, is_training):
    detector.train(is_training)
    wrapped = without_pasting(detector)
    assert wrapped.training == is_training and wrapped.detector is detector
    wrapped.eval()
    assert not detector.training


def test_what_may_paste_in_its_own_way_stays_as_it_is(detector):
    class Another(GeneralizedRCNN):
        pass

    another = Another.__new__(Another)
    for model in (another, nn.Identity()):
        assert without_pasting(model) is model


def test_one_of_several_processes_runs_its_own_detector(detector):
    parallel = DistributedDataParallel.__new__(DistributedDataParallel)
    nn.Module.__init__(parallel)
    parallel.module = detector
    assert without_pasting(parallel).detector is detector


def test_an_evaluation_has_the_metrics_of_pasted_masks(cfg, detector, monkeypatch):
    """And pastes nothing itself."""
    evaluator = "bpt_det.detection.evaluation.coco_evaluator.CocoEvaluator.wrap_model"
    with monkeypatch.context() as patch:
        patch.setattr(evaluator, lambda self, model: model)
        expected = evaluation.evaluate(cfg, detector)

    def refuse(*args, **kwargs):
        raise AssertionError("pasted")

    monkeypatch.setattr(ROIMasks, "to_bitmasks", refuse)
    results = evaluation.evaluate(cfg, detector)
    assert set(results) == {"bbox", "segm"}
    for task in results:
        assert results[task] == pytest.approx(expected[task], abs=0, nan_ok=True)
