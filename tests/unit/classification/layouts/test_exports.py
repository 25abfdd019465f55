"""Class folders as people's exports have them: read, or refused; what is left out is told."""

import os

import pytest

from bpt_det.classification.layouts.reading import read_dataset
from bpt_det.data.validation.folder_checks import check_labeled
from bpt_det.utils.errors import InputError
from tests.support.class_trees import write_image, zip_tree


def make(root, *specs):
    """Make folders with so many images each, ``train/cat:6``."""
    for number, spec in enumerate(specs):
        folder, count = spec.split(":")
        for index in range(int(count)):
            write_image(root / folder / f"{index}.png", (20 * number, index, 90))
    return root


def sizes(root):
    dataset = read_dataset(f"folder:{root}")
    counts = {split: len(dataset.select(split)) for split in dataset.splits}
    return dataset.class_names, counts


SPLITS = {"train": 6, "val": 5, "test": 4}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("Train", "Val", "Test"),
        ("TRAIN", "VALID", "TEST"),
        ("training", "validation", "testing"),
        ("Training", "Validation", "test"),
    ],
)
@pytest.mark.parametrize("around", ["", "export/", "a/b/c/"])
@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_splits_have_many_names(tmp_path, train, val, test, around, packed):
    tops = [f"{around}{top}" for top in (train, val, test)]
    specs = [f"{top}/{label}:{n}" for top, n in zip(tops, (3, 2, 2), strict=True) for label in "ab"]
    root = make(tmp_path / "tree", *specs)
    write_image(root / around / val / "b/more.png", (1, 2, 3))
    root = zip_tree(root, tmp_path / "a.zip") if packed else root
    assert sizes(root) == (["a", "b"], SPLITS)


def test_two_folders_of_one_split_are_refused(tmp_path):
    make(tmp_path, "train/a:2", "train/b:2", "val/a:1", "valid/a:1")
    with pytest.raises(InputError, match="both val/ and valid/ for the split 'val'"):
        read_dataset(f"folder:{tmp_path}")


def test_a_folder_around_classes_is_looked_into(tmp_path):
    assert sizes(make(tmp_path, "export/a:10", "export/b:10"))[0] == ["a", "b"]


def test_what_is_left_out_is_told(tmp_path, caplog):
    make(tmp_path, "train/a:2", "train/b:2", "val/a:1", "unsorted/c:3", "train:2")
    (tmp_path / "__MACOSX/train/a").mkdir(parents=True)
    (tmp_path / "train/a/._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "train/a/notes.txt").touch()
    (tmp_path / "train/b/phone.heic").touch()
    (tmp_path / "train/b/up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "train/b/pipe.png")
    assert sizes(tmp_path) == (["a", "b"], {"train": 4, "val": 1})
    for text in (
        "folders beside those of the splits are left out: unsorted",
        "2 images outside of class folders are left out: train/0.png, train/1.png",
        "1 .heic, 1 .txt, 2 hidden, 1 link in a circle, 1 pipe or device",
    ):
        assert text in caplog.text


def test_a_clean_folder_gives_no_warning(tmp_path, caplog):
    make(tmp_path, "train/a:2", "train/b:2", "val/a:1", "val/b:1")
    read_dataset(f"folder:{tmp_path}")
    assert not caplog.records


def test_names_that_are_no_utf8_are_read(tmp_path):
    label = os.fsdecode(b"caf\xe9")
    make(tmp_path, f"train/{label}:4", "train/b:4")
    write_image(tmp_path / "train/b" / os.fsdecode(b"\xff.png"), (1, 2, 3))
    names, counts = sizes(tmp_path)
    assert names == ["b", label] and sum(counts.values()) == 9


def test_names_of_300_characters_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_dataset(f"folder:{tmp_path}/{'x' * 300}")


def test_classes_that_a_person_takes_for_one_are_told(tmp_path):
    folders = ("cat", "Cat", "u\u0308ber", "\u00fcber", "red_fox", "red fox", "dog")
    findings = check_labeled(read_dataset(f"folder:{make(tmp_path, *(f'{f}:4' for f in folders))}"))
    assert len(findings.examples["class_names_alike"]) == 3
    assert "'Cat', 'cat'" in findings.examples["class_names_alike"]


def test_a_pipe_in_place_of_a_folder_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    for name in (tmp_path / "a.zip", "/dev/zero"):
        with pytest.raises(InputError, match="is neither a folder nor a regular file"):
            read_dataset(f"folder:{name}")
