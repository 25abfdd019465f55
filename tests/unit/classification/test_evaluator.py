"""The metrics of a classifier."""

import logging
import math

import pytest
import torch
from detectron2.evaluation import inference_on_dataset
from sklearn.metrics import log_loss, recall_score, top_k_accuracy_score

from bpt_det.utils.errors import InputError
from tests.support.predictions import CLASS_NAMES, Data, Recorded, make_data, new_evaluator, run

K = len(CLASS_NAMES)


def written_out(data):
    """Every metric by plain loops."""
    top1, top5, loss, by_class = 0, 0, 0.0, {}
    for sample in data:
        logits, label = sample["logits"].tolist(), sample["label"]
        num_higher = sum(logit > logits[label] for logit in logits)
        top1 += num_higher == 0
        top5 += num_higher < 5
        by_class.setdefault(label, []).append(num_higher == 0)
        loss += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    n = len(data)
    shares = [sum(hits) / len(hits) for hits in by_class.values()]
    return {
        "top1": 100 * top1 / n,
        "top5": 100 * top5 / n,
        "mean_per_class": 100 * sum(shares) / len(shares),
        "loss": loss / n,
    }


def test_every_metric_equals_plain_loops_over_the_logits():
    data = make_data()
    expected = written_out(data)
    assert len({round(value, 3) for value in expected.values()}) == 4
    assert all(0 < expected[name] < 100 for name in ("top1", "top5", "mean_per_class"))
    assert run(data) == {"val": pytest.approx(expected, rel=1e-6)}


def test_metrics_equal_those_of_scikit_learn():
    data, classes = make_data(), range(K)
    logits = torch.stack([sample["logits"] for sample in data]).double()
    labels = [sample["label"] for sample in data]
    result = run(data, task="test")["test"]
    for k, name in [(1, "top1"), (5, "top5")]:
        expected = top_k_accuracy_score(labels, logits.numpy(), k=k, labels=classes)
        assert result[name] == pytest.approx(100 * expected)
    occurring = sorted(set(labels))
    recall = recall_score(labels, logits.argmax(dim=1), labels=occurring, average="macro")
    assert result["mean_per_class"] == pytest.approx(100 * recall)
    loss = log_loss(labels, logits.softmax(dim=1).numpy(), labels=classes)
    assert result["loss"] == pytest.approx(loss)


def test_top5_of_three_classes_counts_all_of_them():
    data = make_data(num_classes=3)
    result = run(data)["val"]
    assert result["top5"] == 100 > result["top1"]


def test_a_second_round_forgets_the_first():
    data = make_data()
    evaluator = new_evaluator(data)
    first = inference_on_dataset(Recorded(), [data[:9]], evaluator)
    assert inference_on_dataset(Recorded(), [data], evaluator) == run(data) != first


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_logits_that_are_not_finite_count_as_wrong_and_are_named(caplog):
    data = make_data()
    before = run(data)["val"]
    hit = next(s for s in data if s["logits"].argmax() == s["label"] == 6)
    hit["logits"] = torch.full((K,), math.nan)
    with caplog.at_level(logging.WARNING):
        after = run(data)["val"]
    assert after["top1"] == pytest.approx(before["top1"] - 100 / len(data))
    assert after["top5"] == pytest.approx(before["top5"] - 100 / len(data))
    assert after["mean_per_class"] == pytest.approx(before["mean_per_class"] - 100 / 7 / 6)
    assert math.isnan(after["loss"])
    assert warnings_in(caplog) == [
        f"the logits of 1 of {len(data)} val images are not finite; these count as wrong: "
        + hit["image_id"]
    ]


def test_images_that_were_not_run_are_counted_in_a_warning(caplog):
    data = make_data()
    inference_on_dataset(Recorded(), [data[:9]], new_evaluator(data))
    assert warnings_in(caplog) == ["9 images were evaluated, but the val data have 29"]


def test_another_number_of_classes_is_refused_with_both_numbers():
    data = make_data()
    with pytest.raises(InputError, match=r"the val data have 6 classes .* num_classes=7") as info:
        run(Data(data, CLASS_NAMES[:6]))
    assert info.value.parameter == "num_classes"


def test_data_without_images_are_refused():
    with pytest.raises(InputError, match="the test data hold no image .*test split"):
        new_evaluator(Data([]), task="test")


def test_data_without_names_of_classes_are_refused():
    with pytest.raises(InputError, match="the val data do not name their classes"):
        new_evaluator(Data(make_data(), None))


def test_no_image_run_is_refused():
    with pytest.raises(InputError, match="no image of the val data was evaluated"):
        new_evaluator(make_data()).evaluate()


def test_the_log_says_the_accuracies(caplog):
    caplog.set_level("INFO")
    data = make_data()
    metrics = run(data)["val"]
    assert (
        f"val: {metrics['top1']:.2f} % top-1, {metrics['top5']:.2f} % top-5, "
        f"{metrics['mean_per_class']:.2f} % mean per class, loss {metrics['loss']:.3f} ("
    ) in caplog.text
