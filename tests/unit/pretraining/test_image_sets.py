"""Image sets without labels: folders, archives and COCO's format."""

import json
import shutil

import numpy as np
import pytest

from bpt_det.data.images import read_rgb
from bpt_det.pretraining import load_images
from bpt_det.pretraining.image_sets import absolute_source
from bpt_det.utils.errors import InputError
from tests.support.class_trees import write_image


@pytest.fixture
def folder(tmp_path):
    """60 images in two subfolders, and a file that is none."""
    for i in range(60):
        write_image(tmp_path / f"photos/{'ab'[i % 2]}/{i:02d}.png", (i, 0, 255 - i))
    (tmp_path / "photos/readme.txt").write_text("not an image")
    return tmp_path / "photos"


def ids(records):
    return [record["image_id"] for record in records]


def test_a_folder_gives_all_images_below_it_and_holds_out_a_part(folder):
    train, val = (load_images(str(folder), split=split) for split in ("train", "val"))
    assert len(val) == 1 and len(train) == 59  # 2 % of 60
    assert sorted(ids(train) + ids(val)) == sorted(f"{'ab'[i % 2]}/{i:02d}.png" for i in range(60))
    assert ids(load_images(str(folder), split="val")) == ids(val)
    assert np.array_equal(read_rgb(train[0]["file_name"])[0, 0], [0, 0, 255])


def test_a_zip_archive_gives_the_same_images_and_the_same_split(folder, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", folder)
    for split in ("train", "val"):
        records = load_images(archive, split=split)
        assert ids(records) == ids(load_images(str(folder), split=split))
    image = read_rgb(records[0]["file_name"])
    number = int(records[0]["image_id"][2:4])
    assert np.array_equal(image[0, 0], [number, 0, 255 - number])


def test_images_to_evaluate_on_can_be_named(folder):
    train = load_images(str(folder), str(folder / "a"), split="train")
    val = load_images(str(folder), str(folder / "a"), split="val")
    assert len(train) == 60
    assert ids(val) == [f"{i:02d}.png" for i in range(0, 60, 2)]


def write_coco(folder, names):
    content = {"images": [{"file_name": n} for n in names], "annotations": [], "categories": []}
    path = folder / "train.json"
    path.write_text(json.dumps(content))
    return path


def test_an_annotation_file_says_which_images_count(folder):
    path = write_coco(folder, ["b/03.png", "a/00.png", "a/02.png"])
    records = load_images(f"{path}:{folder}", str(folder), split="train")
    assert ids(records) == ["a/00.png", "a/02.png", "b/03.png"]


def test_real_coco_is_read(coco_root):
    source = f"{coco_root}/annotations/instances_train2017.json:{coco_root}/train2017"
    assert len(load_images(source, split="train")) == 110
    assert len(load_images(source, split="val")) == 2


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("nowhere", "train: '.*nowhere' does not exist; correct the path"),
        ("empty", r"train: '.*empty' holds no images; files that end in .*\.jpg, "),
        ("photos/readme.txt", "cannot be read as a zip archive"),
        ("photos/train.json:nowhere", "train: image folder '.*nowhere' does not exist"),
        ("photos/train.json:photos", "train: 1 of the 2 images of .* are missing .*x.png"),
        ("photos/none.json:photos", "annotation file '.*none.json' cannot be read"),
    ],
)
def test_a_source_without_its_images_is_one_line(source, text, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_coco(folder, ["a/00.png", "x.png"])
    with pytest.raises(InputError, match=text) as caught:
        load_images(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["", None, 3])
def test_a_source_that_names_nothing_is_refused(source):
    with pytest.raises(InputError, match=r"train=3? names no images; give a folder, a zip"):
        load_images(source)


def test_an_annotation_file_without_images_is_refused(folder):
    path = write_coco(folder, [])
    with pytest.raises(InputError, match="lists no images"):
        load_images(f"{path}:{folder}")


def test_an_entry_without_a_file_name_is_refused(folder):
    path = write_coco(folder, ["a/00.png"])
    path.write_text(path.read_text().replace("file_name", "name"))
    with pytest.raises(InputError, match="has an image without a file_name"):
        load_images(f"{path}:{folder}")


def test_a_single_image_cannot_be_split(folder, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(folder / "a/00.png", tmp_path / "one")
    with pytest.raises(InputError, match="train holds a single image; name others with val"):
        load_images(str(tmp_path / "one"))


def test_sources_become_absolute(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_coco(folder, ["a/00.png"])
    assert absolute_source("photos", "data.train") == str(folder)
    expected = f"{folder}/train.json:{folder}"
    assert absolute_source("photos/train.json:photos", "data.train") == expected
