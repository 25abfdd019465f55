"""Picture files: names, formats, nothing overwritten."""

import numpy as np
import pytest
from PIL import Image

from bpt_det.utils.errors import InputError
from bpt_det.visualization.picture_files import picture_names, prepare_output, save_picture


def test_pictures_of_files_of_one_name_get_numbers():
    files = ["x/sheet.jpg", "x/a.jpg", "y/a.jpg", "a.mp4", "x/a_2.jpg"]
    suffixes = [".png", ".png", ".png", ".mp4", ".png"]
    names = picture_names(files, suffixes, reserved=["sheet"])
    assert names == ["sheet_2.png", "a.png", "a_2.png", "a_3.mp4", "a_2_2.png"]


def test_nothing_is_written_over(tmp_path):
    prepare_output(tmp_path / "new", ["a.png"])
    assert (tmp_path / "new").is_dir()
    (tmp_path / "new/b.png").touch()
    prepare_output(tmp_path / "new", ["a.png"])
    with pytest.raises(InputError, match=r"--output '.*new' already holds b.png; choose another"):
        prepare_output(tmp_path / "new", ["a.png", "b.png"], option="--output")


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "PNG"), (".jpg", "JPEG")])
def test_the_suffix_is_the_format(tmp_path, suffix, kind):
    save_picture(np.full((30, 50, 3), 90, dtype=np.uint8), tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as picture:
        assert (picture.format, picture.size, picture.getpixel((9, 9))) == (
            kind,
            (50, 30),
            (90,) * 3,
        )


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot write '.*absent/a.png': No such file"):
        save_picture(np.zeros((3, 5, 3), dtype=np.uint8), tmp_path / "absent/a.png")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("..jpg", "image.png"),
        ("....jpg", "image.png"),
        (".a.jpg", "a.png"),
        ("a..jpg", "a..png"),
        ("x" * 250 + ".jpg", "x" * 200 + ".png"),
        ("猫" * 84 + ".jpg", "猫" * 66 + ".png"),
    ],
)
def test_a_name_is_neither_hidden_nor_too_long(tmp_path, source, expected):
    names = picture_names([f"in/{source}"] * 2, [".png"] * 2)
    assert names[0] == expected
    for name in names:
        save_picture(np.zeros((4, 6, 3), np.uint8), tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 2
