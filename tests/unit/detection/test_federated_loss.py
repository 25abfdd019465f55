"""Federated loss: against loops, against Detectron2's main branch, and its sampling."""

import inspect
import math

import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from bpt_det.detection import FederatedOutputLayers, ImageCountWeights
from bpt_det.utils.errors import InputError

K = 7
WEIGHTS = torch.tensor([4.0, 0.0, 1.0, 9.0, 16.0, 1.0, 2.0])


def build(cls=FederatedOutputLayers, **options):
    settings = {
        "input_shape": ShapeSpec(channels=6),
        "box2box_transform": Box2BoxTransform(weights=(10.0, 10.0, 5.0, 5.0)),
        "num_classes": K,
        "cls_agnostic_bbox_reg": True,
        "get_fed_loss_cls_weights": lambda: WEIGHTS,
        "fed_loss_num_classes": 4,
        "loss_weight": {"loss_cls": 0.5},
    }
    return cls(**{**settings, **options})


def proposals(labels):
    boxes = torch.arange(4.0 * len(labels)).reshape(-1, 4).cumsum(1)
    shifted = Boxes(boxes + 1)
    return [Instances((90, 90), proposal_boxes=Boxes(boxes), gt_boxes=shifted, gt_classes=labels)]


def losses(layer, scores, labels):
    with EventStorage():
        return layer.losses((scores, torch.ones(len(scores), 4)), proposals(labels))


def test_equals_sums_that_are_written_out():
    torch.manual_seed(0)
    layer, scores = build(), torch.randn(5, K + 1)
    labels = torch.tensor([2, K, 2, 5, K])
    torch.manual_seed(3)
    chosen = layer.sample_classes(labels)
    torch.manual_seed(3)
    actual = losses(layer, scores, labels)["loss_cls"]
    expected = 0.0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        for k in range(K):
            probability = 1 / (1 + math.exp(-row[k]))
            if chosen[k]:
                expected -= math.log(probability if k == label else 1 - probability)
    assert actual.item() == pytest.approx(0.5 * expected / 5, rel=1e-5)


def test_the_loss_of_boxes_and_what_is_logged_are_detectron2s():
    """An image without objects has no `gt_boxes`; no image at all has no region."""
    plain = FastRCNNOutputLayers(
        ShapeSpec(channels=6),
        box2box_transform=Box2BoxTransform(weights=(10.0, 10.0, 5.0, 5.0)),
        num_classes=K,
        cls_agnostic_bbox_reg=True,
        loss_weight={"loss_box_reg": 3.0},
    )
    ours = build(loss_weight={"loss_box_reg": 3.0})
    background = proposals(torch.tensor([K, K]))[0]
    background.remove("gt_boxes")
    images = [*proposals(torch.tensor([2, K, 0])), background]
    predictions = torch.eye(K + 1)[:5], torch.ones(5, 4)
    outputs = []
    for layer in (ours, plain):
        with EventStorage() as storage:
            outputs.append((layer.losses(predictions, images), storage.latest()))
    (actual, logged), (expected, expected_log) = outputs
    assert actual.keys() == expected.keys() and logged == expected_log
    assert actual["loss_box_reg"] == expected["loss_box_reg"] > 0
    with EventStorage():
        none = ours.losses((torch.zeros(0, K + 1), torch.zeros(0, 4)), [])
    assert none == {"loss_cls": 0, "loss_box_reg": 0}


def test_only_the_loss_that_is_used_is_computed(monkeypatch):
    """No softmax, and sigmoids of the sampled classes alone; others have a gradient of 0."""
    monkeypatch.setattr("detectron2.modeling.roi_heads.fast_rcnn.cross_entropy", None)
    shapes = []
    compute = torch.nn.functional.binary_cross_entropy_with_logits
    monkeypatch.setattr(
        "bpt_det.detection.federated_loss.F.binary_cross_entropy_with_logits",
        lambda scores, *rest, **options: (
            shapes.append(tuple(scores.shape)) or compute(scores, *rest, **options)
        ),
    )
    layer, labels = build(), torch.tensor([2, K, 2, 5, K])
    scores = torch.zeros(5, K + 1, requires_grad=True)
    torch.manual_seed(3)
    chosen = layer.sample_classes(labels)
    torch.manual_seed(3)
    losses(layer, scores, labels)["loss_cls"].backward()
    assert shapes == [(5, int(chosen.sum()))] and chosen.sum() < K
    assert torch.equal(scores.grad.abs().sum(dim=0)[:-1] > 0, chosen > 0)
    assert not scores.grad[:, K].any()


def test_equals_detectron2s_main_branch():
    if "use_fed_loss" not in inspect.signature(FastRCNNOutputLayers.__init__).parameters:
        pytest.skip("Detectron2 0.6 has no federated loss; install official main to compare")
    theirs = build(FastRCNNOutputLayers, use_fed_loss=True, use_sigmoid_ce=True)
    ours = build()
    ours.load_state_dict({**theirs.state_dict(), "fed_loss_cls_weights": torch.zeros(K)})
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    for seed in range(20):
        torch.manual_seed(seed)
        scores, labels = torch.randn(6, K + 1), torch.randint(0, K + 1, (6,))
        values = []
        for layer in (ours, theirs):
            torch.manual_seed(seed)
            values.append(losses(layer, scores, labels)["loss_cls"])
        assert values[0] == pytest.approx(values[1].item(), rel=1e-6)
    found = [layer.predict_probs((scores, None), proposals(labels)) for layer in (ours, theirs)]
    torch.testing.assert_close(found[0], found[1])


def test_classes_that_are_there_are_kept_and_others_are_sampled_by_their_weight():
    layer, labels = build(), torch.tensor([3, K, 3])
    torch.manual_seed(0)
    chosen = torch.stack([layer.sample_classes(labels) for _ in range(4000)])
    assert chosen.shape == (4000, K) and (chosen[:, 3] == 1).all()
    # Four with the background: class 3 and two others. The first of them by its weight alone.
    assert (chosen.sum(dim=1) == 3).all()
    rates = chosen.mean(dim=0)
    assert rates[1] == 0  # its weight is 0
    weights = {0: 4.0, 2: 1.0, 4: 16.0, 5: 1.0, 6: 2.0}
    for k, weight in weights.items():
        expected = weight / 24 + sum(
            other / 24 * weight / (24 - other) for j, other in weights.items() if j != k
        )
        assert rates[k].item() == pytest.approx(expected, abs=0.03)


def test_no_more_classes_are_sampled_than_have_a_weight():
    assert build(fed_loss_num_classes=50).sample_classes(torch.tensor([1])).tolist() == [1] * K


def test_scores_are_sigmoids_by_image():
    scores = torch.randn(3, K + 1)
    images = [proposals(torch.tensor([0, 1]))[0], proposals(torch.tensor([2]))[0]]
    first, second = build().predict_probs((scores, None), images)
    torch.testing.assert_close(torch.cat([first, second]), 1 / (1 + (-scores).exp()))
    assert (len(first), len(second)) == (2, 1)


def test_without_a_region_the_loss_is_0_and_has_a_gradient():
    scores = torch.zeros(0, K + 1, requires_grad=True)
    loss = build().sigmoid_cross_entropy_loss(scores, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0


def test_a_model_is_built_and_predicts_without_the_dataset():
    def fail():
        raise AssertionError("asked for the weights")

    layer = build(get_fed_loss_cls_weights=fail)
    assert layer.predict_probs((torch.zeros(0, K + 1), None), []) == ()
    assert layer.state_dict()["fed_loss_cls_weights"].tolist() == [0] * K


def test_weights_are_those_of_the_training_data_whatever_a_checkpoint_holds():
    layer = build()
    layer.load_state_dict({**layer.state_dict(), "fed_loss_cls_weights": torch.ones(K)})
    layer.sample_classes(torch.tensor([0]))
    assert layer.fed_loss_cls_weights.tolist() == WEIGHTS.tolist()


def test_weights_are_powers_of_the_numbers_of_images():
    counts = [{"id": 2, "image_count": 9}, {"id": 1, "image_count": 16}]
    MetadataCatalog.get("counted").class_image_count = counts
    try:
        assert ImageCountWeights("counted")().tolist() == [4, 3]
        assert ImageCountWeights("counted", freq_weight_power=1.0)().tolist() == [16, 9]
    finally:
        MetadataCatalog.remove("counted")


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (lambda: ImageCountWeights("a", -1), "freq_weight_power must be 0 or more, got -1"),
        (ImageCountWeights("nobody"), "the numbers of images per class of 'nobody' are not known"),
        (lambda: build(fed_loss_num_classes=0), "fed_loss_num_classes must be an integer >= 1"),
        (
            lambda: build(get_fed_loss_cls_weights=lambda: WEIGHTS[:5]).sample_classes(
                torch.tensor([0])
            ),
            "has the weights of 5 classes, but the model has num_classes=7; set num_classes=5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(action, text):
    with pytest.raises(InputError, match=text):
        action()
