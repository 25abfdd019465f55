"""Tar shards: images and labels of a name, splits by the shards' names, faults in one line each."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from bpt_det.classification.layouts import load_classification
from bpt_det.classification.layouts.reading import read_dataset
from bpt_det.classification.layouts.shards import expand_braces
from bpt_det.data.images import read_rgb
from bpt_det.data.validation import check_labeled
from bpt_det.utils.errors import InputError
from tests.support.tars import write_tar

TRAIN = [0, 2, 1, 2, 0, 1, 2]  # labels, of samples in two shards
VAL = [1, 0, 2]


def image(number):
    """A PNG of a color of its own."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), (number, 9, 255 - number), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def samples(labels, first=0, suffix="cls", encode=str):
    """Members of a shard by name."""
    members = {}
    for number, label in enumerate(labels, first):
        members[f"{number:03d}.{suffix}"] = encode(label).encode()
        members[f"{number:03d}.jpg"] = image(number)
    return members


@pytest.fixture
def folder(tmp_path):
    write_tar(tmp_path / "birds-train-0.tar", samples(TRAIN[:4]))
    write_tar(tmp_path / "birds-train-1.tar", samples(TRAIN[4:], first=4))
    write_tar(tmp_path / "birds-val-0.tar", samples(VAL, first=100))
    return tmp_path


def load(place, split="train"):
    return load_classification(f"shards:{place}", split=split)


def refusal(place, prefix="shards:"):
    with pytest.raises(InputError) as caught:
        read_dataset(f"{prefix}{place}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def colors(data):
    return [int(read_rgb(record["file_name"])[0, 0, 0]) for record in data]


def test_a_folder_of_shards_is_read_in_the_order_of_its_names(folder):
    train, val = load(folder), load(folder, "val")
    assert [record["label"] for record in train] == TRAIN and colors(train) == list(range(7))
    assert [record["label"] for record in val] == VAL and colors(val) == [100, 101, 102]
    assert train[4]["image_id"] == "birds-train-1.tar/004.jpg"
    assert train[4]["file_name"] == f"{folder}/birds-train-1.tar/004.jpg"
    assert train.class_names == val.class_names == ["0", "1", "2"]


def test_a_pattern_with_braces_and_one_shard_name_the_same_images(folder):
    pattern = f"{folder}/birds-{{train-{{0..1}},val-0}}.tar"
    for split in ("train", "val"):
        assert load(pattern, split).records == load(folder, split).records
    (folder / "sub").mkdir()
    (folder / "birds-train-0.tar").rename(folder / "sub/1.tar")
    assert len(load(f"{folder}/sub/1.tar")) == 3  # one of four is held out
    assert len(load(f"{folder}/sub/1.tar", "val")) == 1


def test_splits_may_be_folders(folder):
    for name in ("train", "validation"):
        (folder / name).mkdir()
    (folder / "birds-train-0.tar").rename(folder / "train/0.tar")
    (folder / "birds-train-1.tar").rename(folder / "train/1.tar")
    (folder / "birds-val-0.tar").rename(folder / "validation/0.tar")
    assert colors(load(folder)) == list(range(7)) and len(load(folder, "val")) == 3


@pytest.mark.parametrize(
    ("suffix", "encode"),
    [
        ("cls", lambda label: f" {label}\n"),
        ("txt", lambda label: ["ash", "elm", "yew"][label]),
        ("json", str),
        ("json", lambda label: json.dumps({"size": [6, 8], "label": label})),
        ("json", lambda label: json.dumps({"cls": ["ash", "elm", "yew"][label]})),
    ],
)
def test_labels_are_numbers_or_names(tmp_path, suffix, encode):
    write_tar(tmp_path / "train.tar", samples(TRAIN, suffix=suffix, encode=encode))
    write_tar(tmp_path / "val.tar", samples(VAL, suffix=suffix, encode=encode))
    data = load(tmp_path)
    assert [record["label"] for record in data] == TRAIN
    assert data.class_names in (["0", "1", "2"], ["ash", "elm", "yew"])


def test_a_list_names_the_classes_in_its_own_order(folder):
    (folder / "classnames.txt").write_text("yew\nash\nelm\n")
    assert load(folder).class_names == ["yew", "ash", "elm"]
    assert [record["label"] for record in load(folder)] == TRAIN
    write_tar(folder / "birds-val-0.tar", samples(VAL, encode=["yew", "ash", "elm"].__getitem__))
    assert [record["label"] for record in load(folder, "val")] == VAL


def test_further_members_of_a_sample_are_left_alone(tmp_path):
    members = samples(TRAIN)
    members |= {"000.seg.png": image(1), "001.json": b"{}", "README.md": b"", "._003.jpg": b""}
    members |= {"x/a.v2.jpg": image(7), "x/a.v2.cls": b"1"}
    write_tar(tmp_path / "0.tar", members)
    write_tar(tmp_path / "val.tar", samples(VAL))
    (tmp_path / "0.tar").rename(tmp_path / "train.tar")
    assert colors(load(tmp_path)) == list(range(8))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"001.cls": None}, r"1 images without a label .cls \(birds-train-0.tar/001.jpg\)"),
        ({"001.jpg": None}, r"1 labels without an image \(birds-train-0.tar/001.cls\)"),
        ({"001.png": image(3)}, r"1 samples with several images \(birds-train-0.tar/001\)"),
        (
            {"001.cls": b"-1"},
            r"1 labels that cannot be used \(.*/001.jpg: is -1, but classes are 0 or more\)",
        ),
        ({"001.cls": b""}, "1 labels that .*001.jpg: is empty"),
        ({"001.cls": b"1\n2"}, "has several lines"),
        ({"001.cls": b"\xff"}, "can't decode byte 0xff"),
        ({"001.cls": b"elm"}, r"some labels are numbers and some are names \(elm\)"),
    ],
)
def test_faults_of_samples_are_named(folder, change, text):
    members = {**samples(TRAIN[:4]), **change}
    members = {name: content for name, content in members.items() if content is not None}
    write_tar(folder / "birds-train-0.tar", members)
    with pytest.raises(InputError, match=text):
        load(folder)


def test_a_class_out_of_range_and_one_that_is_not_trained_are_named(folder):
    write_tar(folder / "birds-val-0.tar", samples([0, 7]))
    assert "1 classes" in refusal(folder) and "have no training image: 7" in refusal(folder)
    (folder / "classnames.txt").write_text("yew\nash\nelm\n")
    assert "birds-val-0.tar/001.jpg: is 7, but classes are 0 to 2" in refusal(folder)
    write_tar(folder / "birds-val-0.tar", samples(["oak"]))
    assert "is 'oak', which is none of the 3 class names" in refusal(folder)


def test_bad_shards_are_named(folder):
    shard = folder / "birds-val-0.tar"
    write_tar(shard, {})
    assert f"shard '{shard}' is empty" in refusal(folder)


def test_a_truncated_shard_is_named(folder):
    shard = folder / "birds-val-0.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    assert f"archive '{shard}' is truncated" in refusal(folder)


def test_links_are_not_followed(folder):
    with tarfile.open(folder / "birds-val-0.tar", "a") as file:
        link = tarfile.TarInfo("999.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        label = tarfile.TarInfo("999.cls")
        label.size = 1
        file.addfile(label, io.BytesIO(b"0"))
    assert "1 labels without an image (birds-val-0.tar/999.cls)" in refusal(folder)


def test_the_splits_of_shards_are_all_or_none(folder):
    write_tar(folder / "more.tar", samples(VAL))
    assert "1 of the 4 shards" in refusal(folder) and "(more.tar)" in refusal(folder)
    (folder / "more.tar").rename(folder / "train-test.tar")
    assert "names the splits test and train" in refusal(folder)
    assert "no shard of" in refusal(f"{folder}/birds-val-0.tar")


def test_a_place_without_shards_is_named_with_the_nearest_form(folder, tmp_path):
    assert f"1 of 3 shards do not exist: {folder}/birds-train-2.tar" in refusal(
        f"{folder}/birds-train-{{0..2}}.tar"
    )
    (tmp_path / "empty").mkdir()
    assert f"a folder of images is folder:{tmp_path}/empty" in refusal(f"{tmp_path}/empty")
    (tmp_path / "a.zip").touch()
    assert f"a zip archive is folder:{tmp_path}/a.zip" in refusal(f"{tmp_path}/a.zip")
    packed = write_tar(tmp_path / "c/a.tar", {f"{c}/1.jpg": image(1) for c in ("ash", "elm")})
    assert f"folders in it are the classes, give folder:{packed}" in refusal(packed)


def test_shards_given_as_class_folders_are_named_with_the_nearest_form(folder):
    assert f"give it as shards:{folder}" in refusal(folder, "folder:")
    shard = f"{folder}/birds-train-0.tar"
    assert f"give it as shards:{shard}" in refusal(shard, "folder:")
    assert f"folder:{shard} for class folders in it or shards:{shard}" in refusal(shard, "")


def test_class_folders_in_a_tar_are_those_of_the_folder(tmp_path):
    members = {f"birds/{s}/{c}/{n}.png": image(n) for s in ("train", "val") for c in "ab"
               for n in range(3)}  # fmt: skip
    write_tar(tmp_path / "a.tar", members)
    data = load_classification(f"folder:{tmp_path}/a.tar")
    assert colors(data) == [0, 1, 2] * 2 and data.class_names == ["a", "b"]


def test_the_check_finds_a_broken_image_in_a_shard(folder):
    members = samples(VAL, first=100)
    members["101.jpg"] = members["101.jpg"][:40]
    write_tar(folder / "birds-val-0.tar", members)
    findings = check_labeled(read_dataset(f"shards:{folder}"))
    (example,) = findings.examples["image_unreadable"]
    assert "birds-val-0.tar/101.jpg" in str(example)
    assert sum(findings.counts.values()) == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{0..10}", [str(number) for number in range(11)]),
        ("{9..010}", ["009", "010"]),
        ("{2..1}", ["1", "2"]),
        ("{a,b}{0..1}", ["a0", "a1", "b0", "b1"]),
        ("{t-{0..1},v}.tar", ["t-0.tar", "t-1.tar", "v.tar"]),
        ("{a,}{b", ["a{b", "{b"]),
        ("a}", ["a}"]),
    ],
)
def test_braces_are_those_of_shells(pattern, expected):
    assert expand_braces(pattern) == expected


@pytest.mark.parametrize("pattern", ["{0..99999999999}", "{0..999}{0..999}{0..9}"])
def test_braces_that_name_millions_of_shards_are_refused(pattern):
    with pytest.raises(InputError, match="names more than"):
        expand_braces(pattern)
