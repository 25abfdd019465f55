"""Every mistake in a dataset is one line that names the file and the next step."""

import os
import shutil

import numpy as np
import pytest
import scipy.io

from bpt_det.classification.layouts import load_classification
from bpt_det.utils.errors import InputError
from tests.support import class_trees
from tests.support.class_trees import LIST_WRITERS, WRITERS


def refuses(match, name, root, split="train"):
    with pytest.raises(InputError, match=match) as info:
        load_classification(name, root, split)
    text = str(info.value)
    assert "\n" not in text
    assert "; " in text or "is not one of" in text, text  # the next step, or what is allowed


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *((birds, f) for birds in ("cub", "nabirds") for f in ("images.txt", "classes.txt")),
        ("cub", "train_test_split.txt"),
        ("nabirds", "image_class_labels.txt"),
        ("flowers", "setid.mat"),
        ("flowers", "imagelabels.mat"),
        ("dogs", "lists/train_list.mat"),
        ("dogs", "lists/test_list.mat"),
        ("cars", "devkit/cars_train_annos.mat"),
        ("cars", "devkit/cars_test_annos_withlabels.mat"),
        ("cars", "devkit/cars_meta.mat"),
    ],
)
def test_a_missing_list_is_named_with_its_source(name, file, tmp_path):
    WRITERS[name](tmp_path)
    (tmp_path / file).unlink()
    refuses(rf"{file}' is missing; .*: .*https?://.*datasets/README.md", name, tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_without_the_dataset_is_refused_with_the_source(name, tmp_path):
    refuses(rf"'{tmp_path}' holds none of .*https?://.*datasets/README.md", name, tmp_path)


@pytest.mark.parametrize("name", LIST_WRITERS)
def test_a_missing_image_is_named(name, tmp_path):
    LIST_WRITERS[name](tmp_path)
    first = load_classification(name, tmp_path, "train").records[0]
    shutil.move(first["file_name"], tmp_path / "elsewhere.jpg")
    refuses(rf"1 of the \d+ images of .* missing .*: {first['image_id']}; ", name, tmp_path)


def test_a_missing_root_is_named(tmp_path):
    refuses(r"none' does not exist", "cub", tmp_path / "none")


@pytest.mark.parametrize(
    ("file", "old", "new", "match"),
    [
        ("image_class_labels.txt", "1 2\n", "1 7\n", r"image 1 the label 7, but .* has 2 to 11"),
        ("image_class_labels.txt", "1 2\n", "1 two\n", "has 'two' where a class id should be"),
        ("image_class_labels.txt", "1 2\n", "", r"image_class_labels.txt' has no line for image 1"),
        ("train_test_split.txt", "1 1\n", "1 yes\n", r"image 1 the flag 'yes', not 1 \(train"),
        ("train_test_split.txt", "1 1\n", "1 1\n1 1\n", "line 2: twice the id '1'"),
        ("images.txt", "2 002", "2\n3 002", "line 2: no value for '2'"),
        ("classes.txt", "2 002", "1 001.Empty\n2 002", "1 classes .* no image: 1 001.Empty"),
    ],
)
def test_a_fault_in_cubs_lists_is_named(file, old, new, match, tmp_path):
    class_trees.write_cub(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    refuses(match, "cub", tmp_path)


def test_a_class_without_training_images_is_named(tmp_path):
    class_trees.write_cub(tmp_path)
    path = tmp_path / "train_test_split.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{n} 0" for n in range(1, 7)] + lines[6:]))
    refuses("1 classes of .* have no training image: 002.Laysan", "cub", tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "variable", "highest"),
    [("flowers", "imagelabels.mat", "labels", 102), ("dogs", "lists/test_list.mat", "labels", 120)],
)
def test_a_label_out_of_range_is_named(name, file, variable, highest, tmp_path):
    WRITERS[name](tmp_path)
    content = {k: v for k, v in scipy.io.loadmat(tmp_path / file).items() if k[0] != "_"}
    content[variable].flat[0] = 0
    scipy.io.savemat(tmp_path / file, content)
    refuses(rf"{file}' gives '.*' the label 0, but labels are 1 to {highest}", name, tmp_path)


def test_a_car_of_an_unnamed_class_is_named(tmp_path):
    class_trees.write_cars(tmp_path)
    names = np.array([["Acura RL Sedan 2012", "AM General Hummer SUV 2000"]], object)
    scipy.io.savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names})
    refuses(r"gives 'cars_train/00015.jpg' the label 3, but labels are 1 to 2", "cars", tmp_path)


def test_cars_without_test_labels_are_refused(tmp_path):
    class_trees.write_cars(tmp_path)
    path = tmp_path / "devkit/cars_test_annos_withlabels.mat"
    unlabeled = np.array([[("00001.jpg",)]], [("fname", object)])
    scipy.io.savemat(path, {"annotations": unlabeled})
    refuses("withlabels.mat' has no 'class' or no 'fname' field", "cars", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no matlab file", b"\0" * 300])
def test_a_damaged_matlab_file_is_named(content, tmp_path):
    class_trees.write_flowers(tmp_path)
    (tmp_path / "setid.mat").write_bytes(content)
    refuses("setid.mat' (cannot be read as a MATLAB file|has no variable)", "flowers", tmp_path)


def test_an_empty_class_folder_is_named(tmp_path):
    class_trees.write_class_folders(tmp_path)
    (tmp_path / "train/n09999999").mkdir()
    (tmp_path / "train/n09999999/readme.txt").write_text("no image")
    refuses("1 class folders of .*train' have no image: n09999999", "imagenet", tmp_path)


def test_a_class_that_only_val_has_is_named(tmp_path):
    class_trees.write_class_folders(tmp_path)
    (tmp_path / "val/n01440764").rename(tmp_path / "val/n07777777")
    refuses("val' has classes that train/ lacks: n07777777", "imagenet", tmp_path)


def test_splits_without_a_training_split_are_refused(tmp_path):
    class_trees.write_class_folders(tmp_path)
    shutil.rmtree(tmp_path / "train")
    refuses("/train' is missing; ", f"folder:{tmp_path}", None)


def test_validation_images_outside_class_folders_are_refused(tmp_path):
    class_trees.write_class_folders(tmp_path, splits=("train",))
    class_trees.write_image(tmp_path / "val/ILSVRC2012_val_00000001.JPEG", (1, 2, 3))
    refuses("val' has no images in class folders; sort its images", "imagenet", tmp_path, "val")


def test_a_folder_of_one_class_is_refused(tmp_path):
    class_trees.write_class_folders(tmp_path, splits=("",))
    for wnid in ("n01443537", "n02119789"):
        shutil.rmtree(tmp_path / wnid)
    refuses("has one class; a classifier needs two or more", f"folder:{tmp_path}", "")


def test_a_folder_without_class_folders_is_refused(tmp_path):
    class_trees.write_image(tmp_path / "a.jpg", (1, 2, 3))
    refuses("has no class folders; a dataset of your own", f"folder:{tmp_path}", "")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    refuses(r"folder:.*none: '.*none' does not exist", f"folder:{tmp_path}/none", "")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("cubs", r"unknown dataset 'cubs'; did you mean cub"),
        ("Flower", "did you mean flowers"),
        (
            "zzz",
            r"unknown dataset 'zzz'; there are cub, .*shapes_crops, folder:PATH and shards:PATH",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, match, tmp_path):
    refuses(match, name, tmp_path)


def test_an_unknown_split_is_refused(tmp_path):
    refuses("split 'dev' is not one of train, val, test, trainval", "cub", tmp_path, "dev")


def test_a_path_in_place_of_a_name_is_told_the_prefix(tmp_path):
    with pytest.raises(
        InputError, match="'/birds'; give folder:/birds for images or shards:/birds for tar"
    ):
        load_classification("/birds")


def test_a_prefix_without_a_path_is_refused():
    with pytest.raises(InputError, match="'folder:' names no folder; give one, as in folder:/"):
        load_classification("folder:")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    WRITERS["cub"](tmp_path)

    list_folder = os.scandir

    def scandir(folder):
        if folder.rstrip("/").endswith("/images"):
            raise PermissionError(13, "Permission denied", folder)
        return list_folder(folder)

    monkeypatch.setattr("os.scandir", scandir)
    refuses(r"folder '.*/images/?' cannot be read \(Permission denied\)", "cub", tmp_path)


def test_files_that_are_no_images_are_counted_in_a_warning(tmp_path, caplog):
    class_trees.write_class_folders(tmp_path, ("",))
    folder = next(path for path in sorted(tmp_path.iterdir()) if path.is_dir())
    for name in ("a.HEIC", "b.heic", "notes.txt", "README", ".hidden.png"):
        (folder / name).touch()
    load_classification(f"folder:{tmp_path}")
    assert "class folders of" in caplog.text
    assert "left out: 2 .heic, 1 .txt, 1 hidden, 1 without suffix" in caplog.text


def change_mat(path, **arrays):
    """Replace variables of a MATLAB file."""
    content = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    scipy.io.savemat(path, content | arrays)


def test_a_flower_without_a_label_is_named_by_its_number(tmp_path):
    class_trees.write_flowers(tmp_path)
    change_mat(tmp_path / "setid.mat", trnid=np.array([[1, 999]], np.uint16))
    refuses(r"setid.mat' names image 999, .* labels of images 1 to \d+", "flowers", tmp_path)


def test_lists_of_dogs_of_different_lengths_are_refused_with_both(tmp_path):
    class_trees.write_dogs(tmp_path)
    change_mat(tmp_path / "lists/train_list.mat", labels=np.array([[1.0]]))
    refuses(r"train_list.mat' has \d+ files and 1 labels", "dogs", tmp_path)


def test_a_list_without_its_variable_is_refused(tmp_path):
    class_trees.write_flowers(tmp_path)
    scipy.io.savemat(tmp_path / "imagelabels.mat", {"other": np.array([[1]])})
    refuses(r"imagelabels.mat' has no variable 'labels'", "flowers", tmp_path)


def test_a_car_model_without_an_image_is_named(tmp_path):
    class_trees.write_cars(tmp_path)
    names = np.empty((1, 4), object)
    names[0] = ["one", "two", "three", "Yugo GV 1986"]
    scipy.io.savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names})
    refuses(r"cars_meta.mat' have no image: 4 Yugo GV 1986", "cars", tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("\n  \n", r"classes.txt' is empty"),
        ("1 a\n2\n", r"classes.txt' line 2: no value for '2'"),
        ("1 a\n1 b\n", r"classes.txt' line 2: twice the id '1'"),
    ],
)
def test_a_malformed_list_of_birds_is_refused_by_its_line(text, match, tmp_path):
    class_trees.write_cub(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    refuses(match, "cub", tmp_path)
