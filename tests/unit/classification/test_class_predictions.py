"""Predictions of a classifier: the likeliest classes of an image, and the tables read back."""

import csv
import math

import pytest
import torch

from bpt_det.classification.class_predictions import (
    rank_classes,
    write_confusion,
    write_per_class,
    write_predictions,
)
from bpt_det.classification.confusion import count_confusions
from bpt_det.utils.errors import InputError
from tests.support.predictions import CLASS_NAMES, LABELS, faulty, make_samples, predict

K = len(CLASS_NAMES)
PREDICTIONS = [*predict((0, 1, 0.5), (0, 0, 0.875), (2, 3, 0.75), (0, 0, 1.0)), faulty(2, "bad")]


def rank(logits, label=0):
    return rank_classes(make_samples([label]), torch.tensor([logits]))[0]


def test_the_five_likeliest_classes_are_kept_with_their_softmax():
    logits = [0.5, -1.0, 2.0, 0.25, 3.0, -2.0, 1.0]
    total = sum(math.exp(logit) for logit in logits)
    prediction = rank(logits, label=2)
    assert prediction.ranked == (4, 2, 6, 0, 3)
    assert prediction.probabilities == pytest.approx(
        [math.exp(logits[index]) / total for index in prediction.ranked]
    )
    assert prediction.loss == pytest.approx(-math.log(math.exp(2.0) / total))
    assert prediction[:3] == ("images/000.jpg", "/data/000.jpg", 2)


def test_of_equal_logits_the_class_of_lower_index_comes_first():
    assert rank([1.0, 2.0, 1.0, 2.0, 2.0, 1.0, 1.0, 0.0]).ranked == (1, 3, 4, 0, 2)
    assert rank([0.0] * 1000).ranked == (0, 1, 2, 3, 4)


def test_fewer_than_five_classes_are_all_kept():
    assert rank([0.0, 2.0, 1.0]).ranked == (1, 2, 0)


def test_an_image_is_correct_and_in_the_top_five_by_its_label():
    logits = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    ranks = [rank(logits, label) for label in range(6)]
    assert [prediction.is_correct for prediction in ranks] == [True] + [False] * 5
    assert [prediction.is_in_top5 for prediction in ranks] == [True] * 5 + [False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_give_no_class(value):
    prediction = rank([1.0, value, 0.0], label=0)
    assert prediction.ranked == prediction.probabilities == ()
    assert not (prediction.is_finite or prediction.is_correct or prediction.is_in_top5)
    assert math.isnan(prediction.loss)


def test_half_precision_logits_with_a_graph_are_taken():
    logits = torch.tensor([[1.0, 3.0]], dtype=torch.bfloat16, requires_grad=True)
    assert rank_classes(make_samples([1]), logits)[0].loss == pytest.approx(
        math.log1p(math.exp(-2))
    )


def test_no_logits_are_kept():
    """ImageNet's validation set would need 200 MB in each process, and again when gathered."""
    predictions = rank_classes(make_samples(), torch.zeros(len(LABELS), 1000))
    assert all(len(p.ranked) == len(p.probabilities) == 5 for p in predictions)
    assert not any(isinstance(value, torch.Tensor) for p in predictions for value in p)


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_predictions_hold_names_confidence_and_the_five_likeliest(tmp_path):
    path = tmp_path / "new" / "predictions.csv"
    first = PREDICTIONS[0]._replace(ranked=(1, 3, 0), probabilities=(0.5, 0.25, 0.125))
    write_predictions(path, [first, *PREDICTIONS[1:]], CLASS_NAMES)
    oak = 'the "oak"'
    assert read(path) == [
        ["image_id", "label", "prediction", "confidence", "correct", "top5"],
        ["000", "ash", "elm, wych", "0.500000", "False", "elm, wych | été | ash"],
        ["001", "ash", "ash", "0.875000", "True", "ash"],
        ["002", oak, "été", "0.750000", "False", "été"],
        ["003", "ash", "ash", "1.000000", "True", "ash"],
        ["bad", oak, "", "", "False", ""],
    ]


def test_the_confusion_matrix_is_square_with_true_classes_as_rows(tmp_path):
    path = tmp_path / "confusion.csv"
    counts = count_confusions(PREDICTIONS, K)
    write_confusion(path, counts, CLASS_NAMES)
    header, *rows = read(path)
    assert header[1:] == [row[0] for row in rows] == CLASS_NAMES
    assert [[int(value) for value in row[1:]] for row in rows] == counts.tolist()
    assert rows[2][1 + 3] == rows[0][1 + 1] == "1" and rows[3][1 + 2] == "0"


def test_accuracy_by_class_counts_faulty_images_and_is_empty_without_images(tmp_path):
    path = tmp_path / "per_class.csv"
    write_per_class(path, PREDICTIONS, CLASS_NAMES)
    assert read(path) == [
        ["class", "num_images", "accuracy"],
        ["ash", "3", "66.6667"],
        ["elm, wych", "0", ""],
        ['the "oak"', "2", "0.0000"],
        *([name, "0", ""] for name in CLASS_NAMES[3:]),
    ]


def test_a_file_name_that_is_no_utf8_leaves_as_it_came(tmp_path):
    path = tmp_path / "predictions.csv"
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    write_predictions(path, [PREDICTIONS[0]._replace(image_id=name)], CLASS_NAMES)
    assert b"\ncaf\xe9.jpg,ash," in path.read_bytes()


def test_an_interrupted_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "predictions.csv"
    write_predictions(path, PREDICTIONS, CLASS_NAMES)
    before = path.read_bytes()

    def interrupted(file):
        file.write("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(csv, "writer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_predictions(path, PREDICTIONS[:2], CLASS_NAMES)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["predictions.csv"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^cannot write '.*file/per_class\.csv'"):
        write_per_class(tmp_path / "file/per_class.csv", PREDICTIONS, CLASS_NAMES)
