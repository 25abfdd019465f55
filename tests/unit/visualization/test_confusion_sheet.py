"""The picture of the most confused classes."""

import logging

import numpy as np
import pytest
from PIL import Image

from bpt_det.visualization.confusion_sheet import write_most_confused
from tests.support.predictions import faulty, predict

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
NAMES = ["001.Black_footed_Albatross", r"$\cat$", "crow", "été"]


def with_images(folder, predictions, sizes=((90, 30), (20, 200), (7, 7))):
    """Give each prediction an image of its own, in the color of its true class."""
    located = []
    for index, prediction in enumerate(predictions):
        path = folder / f"{index}.png"
        color = (RED, GREEN, BLUE, (255, 255, 0))[prediction.label]
        Image.new("RGB", sizes[index % len(sizes)], color).save(path)
        located.append(prediction._replace(file_name=str(path)))
    return located


def colored_squares(path):
    """The number of images of each color in a picture, each 160 pixels wide and high."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return [
        round((np.abs(picture - color).sum(axis=2) < 8).sum() / 160**2)
        for color in (RED, GREEN, BLUE)
    ]


CONFUSED = predict(
    *((0, 1, 0.5), (0, 1, 0.6), (0, 1, 0.9), (0, 1, 0.7)),
    *((1, 1, 0.3), (1, 1, 0.8), (1, 1, 0.9)),
    *((2, 0, 0.6), (2, 0, 0.9)),
)


def test_a_row_shows_three_mistaken_images_and_two_recognized_ones(tmp_path):
    path = tmp_path / "new/most_confused.png"
    write_most_confused(path, with_images(tmp_path, CONFUSED), NAMES, "val")
    assert colored_squares(path) == [3, 2, 2]


@pytest.mark.parametrize("num_confused", [1, 2, 8, 9])
def test_a_pair_is_a_row_and_there_are_at_most_eight(num_confused, tmp_path):
    names = [f"class_{index}" for index in range(10)]
    results = predict(*((index, index + 1, 0.5) for index in range(num_confused)))
    images = with_images(tmp_path, [p._replace(label=0) for p in results])
    located = [p._replace(label=i) for i, p in enumerate(images)]
    write_most_confused(tmp_path / "most_confused.png", located, names, "val")
    _, height = Image.open(tmp_path / "most_confused.png").size
    assert colored_squares(tmp_path / "most_confused.png")[0] == min(num_confused, 8)
    assert height == 122 + 212 * min(num_confused, 8) + 14


def test_the_same_results_give_the_same_bytes(tmp_path):
    predictions = with_images(tmp_path, CONFUSED)
    for name in ("a.png", "b.png"):
        write_most_confused(tmp_path / name, predictions, NAMES, "val")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_image_that_has_vanished_is_named_and_the_others_are_shown(tmp_path, caplog):
    predictions = with_images(tmp_path, CONFUSED)
    (tmp_path / "3.png").unlink()
    (tmp_path / "8.png").write_text("no image")
    with caplog.at_level(logging.WARNING):
        write_most_confused(tmp_path / "most_confused.png", predictions, NAMES, "val")
    assert colored_squares(tmp_path / "most_confused.png") == [2, 2, 1]
    vanished, corrupt = caplog.messages
    assert vanished.startswith(f"'{tmp_path}/3.png' cannot be read")
    assert corrupt.startswith(f"image '{tmp_path}/8.png' cannot be read")


def test_without_confusions_an_earlier_picture_goes_and_a_line_says_so(tmp_path, caplog):
    path = tmp_path / "most_confused.png"
    path.touch()
    correct = with_images(tmp_path, predict((0, 0, 0.5), (1, 1, 0.5)))
    with caplog.at_level(logging.INFO):
        write_most_confused(path, [*correct, faulty(0)], NAMES, "val")
    assert not path.exists()
    assert caplog.messages == ["No val image was taken for another class: no most_confused.png"]


def test_long_and_odd_names_do_not_reach_into_the_images(tmp_path):
    """Between the names and the first image the sheet is white."""
    names = ["W" * 300, "a_$b$_" * 40, "\udce9 wide word " * 30, "x"]
    write_most_confused(
        tmp_path / "most_confused.png", with_images(tmp_path, CONFUSED), names, "val"
    )
    picture = np.asarray(Image.open(tmp_path / "most_confused.png").convert("RGB"))
    rows = picture[122 + 2 : 122 + 210]
    assert (rows[:, 300:332] == 255).all()
    assert (rows[:, :27] == 255).all() and (rows[:, 28:298] < 128).any()
