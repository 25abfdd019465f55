"""The picture of the most confused classes."""

import logging

import numpy as np
import pytest
from PIL import Image

from bpt_det.visualization.confusion_sheet import (
    ConfusedPair,
    Example,
    display_names,
    write_confusion_sheet,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def examples(tmp_path):
    """Return examples with images of one color, of odd sizes."""

    def write(color, count):
        written = []
        for index, size in zip(range(count), [(90, 30), (20, 200), (7, 7), (9, 9)], strict=False):
            path = tmp_path / f"{color}{index}.png"
            Image.new("RGB", size, color).save(path)
            written.append(Example(str(path), 0.9 - index / 10))
        return written

    return write


def write(path, pairs):
    totals = {"num_pairs": 20, "num_wrong": 30, "num_images": 70}
    write_confusion_sheet(path, pairs, task="val", **totals)


def pair(mistaken, correct, label="ash", predicted="elm"):
    return ConfusedPair(label, predicted, 5, 7, mistaken, correct)


def colored_squares(path):
    """The number of red and of green images in a picture, each 160 pixels wide and high."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return [
        round((np.abs(picture - color).sum(axis=2) < 8).sum() / 160**2) for color in (RED, GREEN)
    ]


def test_a_row_shows_three_mistaken_images_and_two_recognized_ones(tmp_path, examples):
    path = tmp_path / "new/sheet.png"
    write(path, [pair(examples("red", 4), examples("lime", 4))])
    assert colored_squares(path) == [3, 2]


@pytest.mark.parametrize("num_pairs", [1, 2, 8, 9])
def test_a_pair_is_a_row_and_there_are_at_most_eight(num_pairs, tmp_path, examples):
    path = tmp_path / "sheet.png"
    write(path, [pair(examples("red", 1), [])] * num_pairs)
    assert colored_squares(path) == [min(num_pairs, 8), 0]
    assert Image.open(path).height == 122 + 212 * min(num_pairs, 8) + 14


def test_the_same_results_give_the_same_bytes(tmp_path, examples):
    pairs = [pair(examples("red", 2), examples("lime", 1))]
    for name in ("a.png", "b.png"):
        write(tmp_path / name, pairs)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_image_that_has_vanished_is_named_and_the_others_are_shown(tmp_path, examples, caplog):
    mistaken, correct = examples("red", 3), examples("lime", 2)
    (tmp_path / "red1.png").unlink()
    (tmp_path / "lime0.png").write_text("no image")
    with caplog.at_level(logging.WARNING):
        write(tmp_path / "sheet.png", [pair(mistaken, correct)])
    assert colored_squares(tmp_path / "sheet.png") == [2, 1]
    vanished, corrupt = caplog.messages
    assert f"'{tmp_path}/red1.png' cannot be read" in vanished
    assert f"'{tmp_path}/lime0.png' cannot be" in corrupt


def test_long_and_odd_names_do_not_reach_into_the_images(tmp_path, examples):
    """Between the names and the first image the sheet is white."""
    labels = ["W" * 300, "a $b$ " * 40, "\udce9 wide word " * 30, "x"]
    for index, label in enumerate(display_names(labels)):
        path = tmp_path / f"sheet{index}.png"
        write(path, [pair(examples("red", 3), examples("lime", 1), label, predicted="elm")])
        row = np.asarray(Image.open(path).convert("RGB"))[122 + 2 : 122 + 210]
        assert (row[:, 300:332] == 255).all()
        assert (row[:, :27] == 255).all() and (row[:, 28:298] < 128).any()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Black_footed_Albatross", "Black footed Albatross"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n01440764", "n01440764"),
        ("12", "12"),
        ("3.5_mm  jack\n", "3.5 mm jack"),
        ("Red-winged Blackbird (Male)", "Red-winged Blackbird (Male)"),
        ("été", "été"),
        ("a\udce9", "a?"),
        ("_", "(no name)"),
    ],
)
def test_numbers_and_underscores_go(name, shown):
    assert display_names([name]) == [shown]


def test_names_that_would_be_equal_keep_their_numbers():
    names = ["001.crow", "002.crow", "003.red_jay"]
    assert display_names(names) == ["001.crow", "002.crow", "red jay"]
