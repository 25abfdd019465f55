"""Pascal VOC: corners, masks, layouts, and what is refused."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.formats import open_dataset, read_annotations
from bpt_det.utils.errors import InputError
from tests.support.label_files import BOX, BOXES, pack, write_image, write_voc


def refusal(source):
    with pytest.raises(InputError) as caught:
        read_annotations(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("shift", [1, 0])
def test_corners_count_from_1_unless_one_of_the_dataset_is_below(tmp_path, shift):
    content = read_annotations(str(write_voc(tmp_path, shift=shift)))
    boxes = [a["bbox"] for a in content["annotations"]]
    assert boxes == [[4, 2, 6, 6], [4, 2, 6, 6], [0, 0, 16, 10]]
    assert [c["name"] for c in content["categories"]] == ["cat", "dog"]
    assert [a["category_id"] for a in content["annotations"]] == [1, 2, 1]
    assert [i["file_name"] for i in content["images"]] == ["JPEGImages/a.png", "JPEGImages/b.png"]


def numbers_of(name):
    (height, width), objects = BOXES[name]
    numbers = np.zeros((height, width))
    for number, (_, (x0, y0, x1, y1)) in reversed(list(enumerate(objects, 1))):
        numbers[int(y0) : int(y1), int(x0) : int(x1)] = number
    numbers[0, 0] = 255  # a border
    return numbers


def test_masks_are_those_of_segmentation_object(tmp_path):
    masks = {name: numbers_of(name) for name in BOXES}
    folder = write_voc(tmp_path, masks=masks)
    dataset = read_coco(str(folder))
    found = [a["segmentation"] for group in dataset.annotations.values() for a in group]
    expected = [masks["a"] == 1, masks["b"] == 1, masks["b"] == 2]
    for code, mask in zip(found, expected, strict=True):
        assert (coco_mask.decode(code) == mask).all()


def test_what_separates_objects_is_the_mask_of_none(tmp_path):
    images = {"a": ((12, 20), [(0, BOX)] * 255)}
    write_voc(tmp_path, images, masks={"a": np.full((12, 20), 255)})
    annotations = read_annotations(str(tmp_path))["annotations"]
    assert len(annotations) == 255 and not any(a["area"] for a in annotations)


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_masks_that_are_no_numbers_of_8_bits_are_refused_with_their_mode(tmp_path, mode):
    write_voc(tmp_path, masks={name: numbers_of(name) for name in BOXES})
    Image.new(mode, (20, 12)).save(tmp_path / "SegmentationObject/a.png")
    assert f"a.png' is of mode {mode}, not object numbers of 8 bits" in refusal(tmp_path)


def test_masks_of_some_images_alone_are_left_out(tmp_path, caplog):
    content = read_annotations(str(write_voc(tmp_path, masks={"a": numbers_of("a")})))
    assert not any("segmentation" in a for a in content["annotations"])
    assert "1 of 2 images have masks" in caplog.text


def test_difficult_objects_are_ignored_as_in_its_evaluation(tmp_path):
    folder = write_voc(tmp_path)
    edit(folder / "Annotations/a.xml", "<bndbox>", "<difficult>1</difficult><bndbox>")
    content = read_annotations(str(folder))
    assert [a["iscrowd"] for a in content["annotations"]] == [1, 0, 0]


def test_splits_are_those_of_image_sets(tmp_path):
    folder = write_voc(tmp_path)
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_text("a\nnowhere\n")
    (folder / "ImageSets/Main/val.txt").write_text("b  1\n")
    assert open_dataset(str(folder)).splits == ("train", "val")
    for split, name in (("train", "a"), ("val", "b")):
        content = read_annotations(f"{folder}#{split}")
        assert [i["file_name"] for i in content["images"]] == [f"JPEGImages/{name}.png"]
        assert len(content["categories"]) == 2  # those of the whole dataset


def test_folders_by_split_with_images_beside_are_splits(tmp_path):
    for split in ("train", "valid"):
        write_voc(tmp_path / "all")
        for name in BOXES:
            (tmp_path / split).mkdir(exist_ok=True)
            (tmp_path / f"all/JPEGImages/{name}.png").rename(tmp_path / split / f"{name}.png")
            (tmp_path / f"all/Annotations/{name}.xml").rename(tmp_path / split / f"{name}.xml")
    for folder in ("JPEGImages", "Annotations", ""):
        (tmp_path / "all" / folder).rmdir()
    for source in (tmp_path, pack(tmp_path, tmp_path.with_suffix(".zip"))):
        assert open_dataset(str(source)).splits == ("train", "val")
        content = read_annotations(f"{source}#val")
        assert [i["file_name"] for i in content["images"]] == ["valid/a.png", "valid/b.png"]


@pytest.mark.parametrize("name", ["C:\\photos\\a.png", "a", "renamed.jpg", ""])
def test_a_picture_is_found_under_the_name_of_its_file_too(tmp_path, name):
    folder = write_voc(tmp_path)
    edit(folder / "Annotations/a.xml", "<filename>a.png", f"<filename>{name}")
    assert read_annotations(str(folder))["images"][0]["file_name"] == "JPEGImages/a.png"


def test_a_size_that_is_not_said_is_that_of_the_picture(tmp_path):
    folder = write_voc(tmp_path)
    edit(folder / "Annotations/a.xml", "<width>20", "<width>0")
    image = read_annotations(str(folder))["images"][0]
    assert (image["height"], image["width"]) == (12, 20)


def test_an_annotation_without_its_picture_is_refused(tmp_path):
    folder = write_voc(tmp_path)
    (folder / "JPEGImages/b.png").unlink()
    assert refusal(folder).startswith(
        f"'{folder}/Annotations/b.xml': its picture 'b.png' is not in '{folder}'"
    )


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("</annotation>", "", "is not XML"),
        ("<annotation>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>", "defines entities"),
        ("<name>cat</name>", "", "an object has no name"),
        ("<xmin>5</xmin>", "", "not four numbers"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, old, new, text):
    folder = write_voc(tmp_path)
    edit(folder / "Annotations/a.xml", old, new)
    message = refusal(folder)
    assert message.startswith(f"'{folder}/Annotations/a.xml'") and text in message


def test_two_years_in_one_folder_are_refused(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        write_voc(tmp_path / year)
    assert "2 datasets or versions of one: VOC2007/Annotations (voc)" in refusal(tmp_path)
    assert len(read_annotations(str(tmp_path / "VOC2012"))["images"]) == 2


def test_a_picture_of_another_size_is_found_by_the_checks(tmp_path):
    from bpt_det.data.validation import check_coco

    folder = write_voc(tmp_path, {"a": ((12, 20), [(0, BOX)])})
    write_image(folder / "JPEGImages/a.png", (20, 12))
    findings = check_coco(read_annotations(str(folder)), str(folder))
    assert findings.kinds("error") == ["image_size_differs"]


def test_two_files_of_one_picture_are_refused(tmp_path):
    write_voc(tmp_path)
    edit(tmp_path / "Annotations/b.xml", "<filename>b.png", "<filename>a.png")
    assert "b.xml' and another file are of the picture '" in refusal(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-16", "gb2312", "latin-1", "unknown"])
def test_names_are_in_the_encoding_that_the_file_declares(tmp_path, encoding):
    name = "M\u00fcnze" if encoding in ("latin-1", "unknown") else "\u732b"
    write_voc(tmp_path)
    for file in (tmp_path / "Annotations").iterdir():
        edit(file, "<annotation>", f'<?xml version="1.0" encoding="{encoding}"?><annotation>')
        text = file.read_text().replace("<name>cat<", f"<name>{name}<")
        actual = {"unknown": "latin-1", "UTF-16": "utf-8"}.get(encoding, encoding)
        file.write_bytes(text.encode(actual))
    assert name in [category["name"] for category in read_annotations(str(tmp_path))["categories"]]
