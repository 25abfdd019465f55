"""Images out of folders and archives; unreadable ones are named."""

import multiprocessing
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from bpt_det.data.image_files import archive, check_images, read_bytes, read_image
from bpt_det.utils.errors import InputError
from tests.support import class_trees


def test_channels_are_red_green_blue(tmp_path):
    class_trees.write_image(tmp_path / "a.png", (10, 20, 30))
    expected = np.empty((6, 8, 3), np.uint8)
    expected[:] = (10, 20, 30)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_mode_with_8_bits_becomes_rgb(mode, tmp_path):
    path = tmp_path / "a.tif"
    Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode).save(path)
    np.testing.assert_array_equal(read_image(str(path)), np.full((6, 8, 3), 255, np.uint8))


def test_an_image_of_16_bits_is_refused_and_named(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((6, 8), 40_000, np.uint16)).save(path)
    with pytest.raises(InputError, match=r"deep.png' cannot be decoded \(mode I;16; 8 bits"):
        read_image(str(path))


def test_corrupt_images_are_all_named_in_one_error(tmp_path):
    names = [str(tmp_path / f"{number}.png") for number in range(5)]
    for name in names:
        class_trees.write_image(tmp_path / name, (1, 2, 3))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "3.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"2 of 5 images .*/1.png, .*/3.png; replace them") as info:
        check_images(names)
    assert "\n" not in str(info.value)
    check_images([names[0], names[2]])


def test_a_damaged_member_of_an_archive_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("in/x.png", b"0123456789" * 9)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"0123456789", b"9876543210", 1))
    with pytest.raises(InputError, match=r"a.zip/in/x.png' cannot be read \(Bad CRC"):
        read_image(f"{path}/in/x.png")


def test_a_missing_member_and_a_missing_file_are_named(tmp_path):
    class_trees.write_image(tmp_path / "tree/x.png", (1, 2, 3))
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    for name in (f"{packed}/y.png", f"{tmp_path}/y.png"):
        with pytest.raises(InputError, match=f"'{name}' cannot be read"):
            read_image(name)


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"a.zip' cannot be read as a zip archive"):
        read_bytes(f"{tmp_path}/a.zip/x.png")


def test_a_folder_may_be_called_like_an_archive(tmp_path):
    class_trees.write_image(tmp_path / "old.zip/x.png", (1, 2, 3))
    assert read_image(f"{tmp_path}/old.zip/x.png")[0, 0].tolist() == [1, 2, 3]


def test_a_process_keeps_its_handle_and_another_opens_its_own(tmp_path, monkeypatch):
    class_trees.write_image(tmp_path / "tree/x.png", (1, 2, 3))
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    first = archive(packed)
    assert archive(packed) is first
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert archive(packed) is not first


def _read_all(names):
    return [tuple(read_image(name)[0, 0].tolist()) for name in names]


def test_forked_processes_read_from_one_archive_at_once(tmp_path):
    colors = [(number, 255 - number, 3) for number in range(40)]
    for number, color in enumerate(colors):
        class_trees.write_image(tmp_path / f"tree/{number:02d}.png", color)
    packed = class_trees.zip_tree(tmp_path / "tree", tmp_path / "a.zip")
    names = [f"{packed}/{number:02d}.png" for number in range(40)]
    assert _read_all(names[:1]) == colors[:1]  # the parent holds the archive open
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(_read_all, [names] * 6, chunksize=1) == [colors] * 6
