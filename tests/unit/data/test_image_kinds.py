"""Files of every kind: the same pixels, or the same refusal, wherever an image is read."""

import logging
import re
import zipfile

import numpy as np
import pytest

from bpt_det.classification.layouts import load_classification
from bpt_det.classification.layouts.reading import read_dataset
from bpt_det.classification.mapper import ClassificationMapper
from bpt_det.data import images as reader
from bpt_det.data.images import folder_records, read_rgb, to_rgb
from bpt_det.data.validation import check_coco
from bpt_det.data.validation.folder_checks import check_labeled
from bpt_det.detection.mapper import read_record_image
from bpt_det.pretraining.image_sets import load_images
from bpt_det.utils.errors import InputError
from tests.support.image_kinds import NOT_LISTED, READ, REFUSED, write_all

LEFT_OUT = set() if reader._HEIF_SUFFIXES else {"phone.heic"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture(scope="module")
def right(folder):
    return write_all(folder)


def test_there_are_enough_kinds():
    assert len(READ) >= 40 and len(REFUSED) >= 40


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("read", [read_rgb, to_rgb, lambda p: read_record_image({"file_name": p})])
def test_an_image_has_its_right_pixels(folder, right, name, read):
    np.testing.assert_array_equal(read(str(folder / name)), right[name])


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_image_is_refused_in_one_line(folder, right, name):
    with pytest.raises(InputError) as caught:
        read_rgb(folder / name)
    text = str(caught.value)
    assert re.search(REFUSED[name][0], text) and name in text and "\n" not in text


def test_several_frames_are_told_once(folder, right, caplog, monkeypatch):
    monkeypatch.setattr(reader, "_MULTI_FRAME_SAID", [])
    for name in ("animated.gif", "pages.tif", "animated.webp", "rgb.png"):
        read_rgb(folder / name)
    (record,) = caplog.records
    assert "animated.gif' has several frames or pages" in record.getMessage()


def test_the_check_and_training_agree(folder, right):
    names = [*READ, *REFUSED]
    content = {
        "images": [
            {
                "id": index,
                "file_name": name,
                "height": right[name].shape[0] if name in right else 6,
                "width": right[name].shape[1] if name in right else 9,
            }
            for index, name in enumerate(names)
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "a"}],
    }
    findings = check_coco(content, str(folder), num_workers=2)
    bad = {
        example["file_name"]
        for kind in ("image_missing", "image_unreadable", "image_size_differs")
        for example in findings.examples.get(kind, ())
    }
    unnamed = {name for name in READ if not name.isprintable()}  # refused as a name, not an image
    assert bad - unnamed == set(REFUSED)


def test_listings_say_what_they_leave_out(folder, right, caplog):
    names = {record["image_id"] for record in folder_records(str(folder))}
    assert names == {*READ, *REFUSED} - NOT_LISTED - LEFT_OUT
    text = caplog.text
    for part in ("3 pipe or device", "2 broken link", *(f"1 {n[-5:]}" for n in LEFT_OUT)):
        assert part in text
    caplog.clear()
    assert len(load_images(str(folder), split="train")) >= len(names) - 5
    assert "2 broken link" in caplog.text


def test_class_folders_are_read_and_checked_alike(folder, right, tmp_path, caplog):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
    for index, name in enumerate((*READ, *REFUSED)):
        (folder / name).is_symlink() or (tmp_path / "ab"[index % 2] / name).symlink_to(
            folder / name
        )
    dataset = read_dataset(f"folder:{tmp_path}")
    assert "pipe or device" in caplog.text
    findings = check_labeled(dataset, num_workers=2)
    bad = {text.split(" (")[0].split("/")[1] for text in findings.examples["image_unreadable"]}
    assert bad == set(REFUSED) - NOT_LISTED - LEFT_OUT
    mapper = ClassificationMapper(8, 8, augment=False)
    for record in load_classification(f"folder:{tmp_path}").records:
        name = record["image_id"].split("/")[1]
        if name in bad:
            with pytest.raises(InputError):
                mapper(record)
        else:
            assert mapper(record)["image"].shape == (3, 8, 8)


def test_an_archive_gives_what_its_folder_gives(folder, right, tmp_path):
    regular = [n for n in (*READ, *REFUSED) if (folder / n).is_file() and n.isprintable()]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in regular:
            archive.write(folder / name, f"in/{name}")
    for name in regular:
        path = f"{tmp_path}/a.zip/in/{name}"
        if name in READ:
            np.testing.assert_array_equal(read_rgb(path), right[name])
        else:
            with pytest.raises(InputError, match=REFUSED[name][0]):
                read_rgb(path)


def test_the_limit_of_pixels_is_a_setting(folder, right, monkeypatch):
    monkeypatch.setenv("BPT_DET_MAX_PIXELS", "53")
    with pytest.raises(InputError, match=r"rgb.png' has 54 pixels.*BPT_DET_MAX_PIXELS=54\."):
        read_rgb(folder / "rgb.png")
    monkeypatch.setenv("BPT_DET_MAX_PIXELS", "54")
    assert read_rgb(folder / "rgb.png").shape == (6, 9, 3)


def test_a_larger_limit_lets_pillow_open_more(tmp_path, monkeypatch):
    monkeypatch.setattr(reader.Image, "MAX_IMAGE_PIXELS", 20)
    monkeypatch.setenv("BPT_DET_MAX_PIXELS", "200000000")
    reader.Image.new("RGB", (9, 6)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").shape == (6, 9, 3)


def test_an_image_of_a_camera_is_the_photograph_without_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(reader, "_MULTI_FRAME_SAID", [])
    frames = [reader.Image.new("RGB", size, color) for size, color in (((16, 8), 200), ((8, 8), 9))]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert read_rgb(tmp_path / "a.jpg").shape == (8, 16, 3)
    assert not caplog.records


@pytest.mark.skipif(not reader._HEIF_SUFFIXES, reason="needs pillow-heif")
def test_heic_is_read_where_pillow_heif_is_installed(tmp_path):
    logging.getLogger(__name__).debug("formats: %s", reader._formats())
    reader.Image.new("RGB", (64, 32), (200, 10, 10)).save(tmp_path / "a.heic", quality=100)
    pixels = read_rgb(tmp_path / "a.heic")
    assert pixels.shape == (32, 64, 3)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), [200, 10, 10], atol=9)
