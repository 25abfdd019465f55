"""The files of an evaluation, read back."""

import csv
import logging

import pytest
from PIL import Image

from bpt_det.classification.confusion import count_confusions
from bpt_det.classification.evaluation_files import (
    write_confusion,
    write_most_confused,
    write_per_class,
    write_predictions,
)
from bpt_det.utils.errors import InputError
from tests.support.predictions import CLASS_NAMES, faulty, predict

K = len(CLASS_NAMES)
PREDICTIONS = [*predict((0, 1, 0.5), (0, 0, 0.875), (2, 3, 0.75), (0, 0, 1.0)), faulty(2, "bad")]


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


def test_the_confusion_sheet_has_a_row_for_each_confused_pair(tmp_path):
    write_most_confused(tmp_path / "most_confused.png", PREDICTIONS, CLASS_NAMES, "val")
    assert Image.open(tmp_path / "most_confused.png").height == 122 + 212 * 2 + 14


def test_without_confusions_an_earlier_sheet_goes_and_a_line_says_so(tmp_path, caplog):
    path = tmp_path / "most_confused.png"
    path.touch()
    with caplog.at_level(logging.INFO):
        write_most_confused(path, [*predict((0, 0, 0.5)), faulty(0)], CLASS_NAMES, "val")
    assert not path.exists()
    assert caplog.messages == ["No val image was taken for another class: no most_confused.png"]
