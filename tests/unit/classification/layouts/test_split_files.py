"""VPT's train.json, val.json and test.json beside an official layout, or alone."""

import json

import pytest

from bpt_det.classification.layouts import load_classification
from bpt_det.utils.errors import InputError
from tests.support import class_trees


def cub_labels(root):
    """Return {path below images/: class id} of a miniature CUB."""
    paths = dict(line.split() for line in (root / "images.txt").read_text().splitlines())
    lines = (root / "image_class_labels.txt").read_text().splitlines()
    return {paths[i]: int(label) for i, label in (line.split() for line in lines)}


def deal(labels):
    """Give every third image of the sorted list to train, val and test in turn."""
    items = sorted(labels.items())
    return [dict(items[start::3]) for start in range(3)]


@pytest.fixture
def cub(tmp_path):
    root = class_trees.write_cub(tmp_path / "cub")
    class_trees.write_split_files(root, *deal(cub_labels(root)))
    return root


def test_split_files_count_instead_of_the_official_lists(cub):
    for split in ("train", "val", "test"):
        expected = json.loads((cub / f"{split}.json").read_text())
        data = load_classification("cub", cub, split)
        assert [r["image_id"] for r in data.records] == [f"images/{path}" for path in expected]
        names = [data.class_names[r["label"]] for r in data.records]
        assert names == [path.split("/")[0] for path in expected]


@pytest.mark.parametrize("mapping", [{2: 0, 5: 1, 11: 2}, {2: 3, 5: 2, 11: 1}])
def test_official_names_follow_the_images_however_class_ids_are_numbered(mapping, cub):
    labels = {path: mapping[label] for path, label in cub_labels(cub).items()}
    class_trees.write_split_files(cub, *deal(labels))
    data = load_classification("cub", cub, "test")
    for record in data.records:
        assert data.class_names[record["label"]] in record["image_id"]


def test_names_come_from_the_image_folders_where_the_official_lists_are_absent(cub):
    for file in cub.glob("*.txt"):
        file.unlink()
    data = load_classification("cub", cub, "train")
    assert data.class_names == ["002.Laysan", "005.Crested", "011.Rusty"]


def test_classes_without_names_anywhere_are_named_by_id(tmp_path):
    root = class_trees.write_flowers(tmp_path)
    for file in root.glob("*.mat"):
        file.unlink()
    paths = [f"image_{number:05d}.jpg" for number in range(1, 13)]
    labels = {path: number % 2 + 1 for number, path in enumerate(paths)}
    parts = [dict(list(labels.items())[start : start + 4]) for start in (0, 4, 8)]
    class_trees.write_split_files(root, *parts)
    data = load_classification("flowers", root, "val")
    assert data.class_names == ["class 1", "class 2"]
    assert [record["image_id"] for record in data.records] == [f"jpg/{p}" for p in paths[4:8]]


@pytest.mark.parametrize("prefix", ["images/", "./images/"])
def test_images_may_be_named_from_the_datasets_own_folder(prefix, cub):
    parts = [{prefix + p: n for p, n in part.items()} for part in deal(cub_labels(cub))]
    class_trees.write_split_files(cub, *parts)
    assert load_classification("cub", cub, "val").records[0]["image_id"].startswith("images/002")


def test_split_files_work_for_any_folder(cub):
    data = load_classification(f"folder:{cub}", "", "test")
    assert data.class_names == ["002.Laysan", "005.Crested", "011.Rusty"]


def test_split_files_work_within_an_archive(cub, tmp_path):
    archive = class_trees.zip_tree(cub, tmp_path / "packed.zip", "CUB_200_2011")
    for name in ("cub", f"folder:{archive}"):
        plain = load_classification("cub", cub, "val")
        zipped = load_classification(name, archive, "val")
        assert [r["image_id"] for r in plain.records] == [r["image_id"] for r in zipped.records]


@pytest.mark.parametrize("file", ["train.json", "val.json", "test.json"])
def test_one_missing_split_file_is_named_with_its_source(file, cub):
    (cub / file).unlink()
    with pytest.raises(
        InputError, match=rf"{file}' is missing beside the other split files; .*KMnP/vpt"
    ):
        load_classification("cub", cub, "train")


@pytest.mark.parametrize("label", [201, -1, "5", 1.5, True, None])
def test_a_label_out_of_range_is_refused_with_its_image(label, cub):
    part = json.loads((cub / "val.json").read_text())
    path = next(iter(part))
    (cub / "val.json").write_text(json.dumps(part | {path: label}))
    with pytest.raises(InputError, match=rf"val.json' gives '{path}' the label .* 0 or 1 to 200"):
        load_classification("cub", cub, "train")


def test_a_class_that_train_json_lacks_is_refused(cub):
    part = json.loads((cub / "test.json").read_text())
    (cub / "test.json").write_text(json.dumps(part | {next(iter(part)): 77}))
    with pytest.raises(InputError, match=r"test.json' gives .* 77, which no image of train.json"):
        load_classification("cub", cub, "train")


def test_an_image_in_two_splits_is_refused(cub):
    first = (cub / "train.json").read_text()
    path = next(iter(json.loads(first)))
    (cub / "test.json").write_text(first)
    with pytest.raises(InputError, match=rf"'images/{path}' is both in .*train.json' and in test"):
        load_classification("cub", cub, "train")


def test_one_label_for_images_of_two_official_classes_is_refused(cub):
    labels = {path: max(label, 5) for path, label in cub_labels(cub).items()}
    class_trees.write_split_files(cub, *deal(labels))
    with pytest.raises(InputError, match="different classes of '.*images.txt' under one label: 5"):
        load_classification("cub", cub, "train")


def test_a_missing_image_is_named(cub):
    path = next(iter(json.loads((cub / "val.json").read_text())))
    (cub / "images" / path).unlink()
    with pytest.raises(
        InputError, match=rf"1 of the 13 images of .*val.json' are missing .*{path}"
    ):
        load_classification("cub", cub, "train")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "cannot be read as JSON"), ("[]", "should hold"), ("{}", "should hold")],
)
def test_a_malformed_split_file_is_named(text, problem, cub):
    (cub / "val.json").write_text(text)
    with pytest.raises(InputError, match=f"val.json' {problem}"):
        load_classification("cub", cub, "train")


def test_an_annotation_file_of_another_kind_is_refused_in_one_short_line(cub):
    (cub / "train.json").write_text(json.dumps({"images": [{"id": n} for n in range(9999)]}))
    with pytest.raises(InputError, match="train.json' gives 'images' the label") as info:
        load_classification("cub", cub, "train")
    assert len(str(info.value)) < 400
