"""Checking a dataset from the command line: exit status, sources, report for scripts."""

import json
import shutil

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances

from bpt_det.cli import check as command
from tests.support import class_trees
from tests.support.dataset_faults import FAULTS


@pytest.fixture
def tool():
    return command


class Folder:
    """A rendered dataset that a test may spoil."""

    def __init__(self, root, shapes_root):
        self.images = shutil.copytree(shapes_root / "train", root / "images")
        self.json_file = root / "train.json"
        self.content = json.loads((shapes_root / "annotations/instances_train.json").read_text())
        self.spoil()
        self.arguments = [str(self.json_file), str(self.images)]

    def spoil(self, *kinds):
        for kind in kinds:
            FAULTS[kind](self.content, self.images)
        self.json_file.write_text(json.dumps(self.content))


@pytest.fixture
def folder(tmp_path, shapes_root):
    return Folder(tmp_path, shapes_root)


def refusal(tool, capsys, *arguments):
    assert tool.main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert out == "" and len(lines) == 1
    return lines[0].removeprefix("error: ")


def test_a_clean_data_set_is_status_0(tool, folder, capsys):
    assert tool.main(folder.arguments) == 0
    text = f"{folder.json_file}: 12 images, 78 annotations, 10 categories\n\nnothing wrong\n"
    out = capsys.readouterr().out
    assert out.startswith("12 of 12 images have objects; 6.4 per image,") and out.endswith(text)


def test_errors_are_status_1_and_all_are_shown(tool, folder, capsys):
    folder.spoil("image_unreadable", "bbox_malformed", "duplicate_category_id")
    assert tool.main(folder.arguments) == 1
    out = capsys.readouterr().out
    assert "\nerror: 1 × image files that cannot be decoded [image_unreadable]\n" in out
    assert "\n    annotation 9 of image 2, 000000000002.jpg: bbox is [1, 2, nan, 4]\n" in out
    assert out.endswith("\n3 errors, 0 warnings, 0 notes\n")


def test_warnings_are_status_0_unless_strict(tool, folder):
    folder.spoil("mask_tiny")
    assert tool.main(folder.arguments) == 0
    assert tool.main([*folder.arguments, "--strict"]) == 1


def test_notes_are_status_0_even_if_strict(tool, folder):
    folder.spoil("image_without_annotations")
    assert tool.main([*folder.arguments, "--strict"]) == 0


def test_file_and_folder_may_be_written_as_for_training(tool, folder):
    folder.spoil("image_missing")
    assert tool.main([":".join(folder.arguments)]) == 1


def test_a_registered_data_set_is_found_by_its_name(tool, folder, capsys):
    register_coco_instances("mine_train", {}, *folder.arguments)
    assert tool.main(["mine_train"]) == 0
    DatasetCatalog.remove("mine_train")
    MetadataCatalog.remove("mine_train")
    assert f"\n{folder.json_file}: 12 images" in capsys.readouterr().out


def test_image_files_can_be_left_out(tool, folder, capsys):
    folder.spoil("image_missing")
    assert tool.main([folder.arguments[0], "--skip-images"]) == 0
    assert tool.main([*folder.arguments, "--skip-images"]) == 0


def test_thresholds_are_options(tool, folder, capsys):
    assert tool.main([*folder.arguments, "--min-mask-area", "28"]) == 0
    assert "its area is 26 pixels, less than 28" in capsys.readouterr().out


def test_the_report_for_scripts_holds_every_finding(tool, folder, tmp_path):
    folder.spoil("image_missing", "mask_tiny")
    path = tmp_path / "report.json"
    assert tool.main([*folder.arguments, "--json", str(path)]) == 1
    report = json.loads(path.read_text())
    assert (report["annotations"], report["images"]) == tuple(folder.arguments)
    assert (report["exit_status"], report["errors"], report["warnings"]) == (1, 1, 1)
    assert report["kinds"][0]["findings"][0]["file_name"] == "000000000010.jpg"


def test_a_dataset_with_errors_is_reported_and_not_drawn(tool, folder, tmp_path, capsys):
    folder.spoil("bbox_malformed")
    report, pictures = tmp_path / "report.json", tmp_path / "pictures"
    assert tool.main([*folder.arguments, "--json", str(report), "--draw", str(pictures)]) == 1
    assert json.loads(report.read_text())["errors"] == 1
    assert "no annotations drawn" in capsys.readouterr().out and not pictures.exists()


def test_a_report_is_not_written_over_anything(tool, folder, tmp_path, capsys):
    path = tmp_path / "report.json"
    path.write_text("mine")
    text = refusal(tool, capsys, *folder.arguments, "--json", path)
    assert text == f"--json '{path}' exists already; choose another file."
    assert path.read_text() == "mine"


def test_a_report_needs_a_folder(tool, folder, tmp_path, capsys):
    path = tmp_path / "absent/report.json"
    text = refusal(tool, capsys, *folder.arguments, "--json", path)
    assert text == f"--json '{path}': folder '{path.parent}' does not exist; make it first."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"images": [', "is truncated or not JSON ("),
        ("[]", "is not in COCO's format: it needs the lists images, annotations, categories."),
    ],
)
def test_an_unusable_file_is_status_2(tool, folder, capsys, content, reason):
    folder.json_file.write_text(content)
    text = refusal(tool, capsys, *folder.arguments)
    assert text.startswith(f"annotation file '{folder.json_file}' ") and reason in text


def test_what_does_not_exist_is_status_2(tool, folder, capsys):
    file, images = folder.arguments
    assert refusal(tool, capsys, f"{file}x", images) == (
        f"annotation file '{file}x' cannot be read (No such file or directory); correct the path."
    )
    assert refusal(tool, capsys, file, f"{images}x") == (
        f"image folder '{images}x' does not exist; correct the path."
    )
    assert refusal(tool, capsys, "coco_2017_vall") == (
        "'coco_2017_vall' is neither a path that exists, nor FILE:FOLDER, nor a registered "
        "dataset such as coco_2017_val; correct it."
    )


def test_a_missing_image_folder_argument_is_status_2(tool, folder, capsys):
    folder.images.rename(folder.images.with_name("elsewhere"))
    assert refusal(tool, capsys, folder.arguments[0]) == (
        f"no image folder given for '{folder.json_file}'; give it as second argument, or leave "
        "the images out with --skip-images."
    )


def test_a_registered_data_set_of_another_format_is_refused(tool, capsys):
    assert refusal(tool, capsys, "voc_2007_train") == (
        "dataset 'voc_2007_train' has no COCO-format annotation file; choose another."
    )


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--min-mask-area", "-1", "--min-mask-area must be at least 0, got -1.0."),
        ("--min-box-iou", "1.5", "--min-box-iou must be in [0, 1], got 1.5."),
        ("--min-box-iou", "nan", "--min-box-iou must be in [0, 1], got nan."),
        ("--examples", "-2", "--examples must be at least 0, got -2."),
        ("--num-workers", "0", "--num-workers must be at least 1, got 0."),
    ],
)
def test_a_number_out_of_range_is_refused(tool, folder, capsys, option, value, expected):
    assert refusal(tool, capsys, *folder.arguments, option, value) == expected


def test_the_help_explains_the_exit_status_and_shows_an_example(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "The exit status is 0" in text
    assert "bpt-det check /data/mine/train.json /data/mine/images" in text


@pytest.fixture
def images(tmp_path):
    return class_trees.write_class_folders(tmp_path / "mine", ("train", "val"))


def test_a_classification_data_set_is_checked_by_its_name(tool, images, capsys):
    assert tool.main([f"folder:{images}"]) == 0
    out = capsys.readouterr().out
    assert "    val: 10 images, 2 to 5 per class\n" in out and out.endswith("\nnothing wrong\n")


def test_all_corrupt_images_of_a_classification_data_set_are_named(tool, images, tmp_path, capsys):
    broken = sorted((images / "train").rglob("*.JPEG"))[:5]
    for path in broken:
        path.write_bytes(b"no image")
    report = tmp_path / "report.json"
    assert tool.main([f"folder:{images}", "--json", str(report)]) == 1
    out = capsys.readouterr().out
    content = json.loads(report.read_text())
    assert (content["exit_status"], content["errors"]) == (1, 5)
    for path, finding in zip(broken, content["kinds"][0]["findings"], strict=True):
        assert str(path) in out and str(path) in finding


def test_a_known_dataset_is_found_below_the_root(tool, tmp_path, capsys):
    class_trees.write_flowers(tmp_path / "OxfordFlowers")
    arguments = ["flowers", "--root", str(tmp_path), "--skip-images"]
    assert tool.main(arguments) == 0
    assert "train has 30 images, expected 1,020" in capsys.readouterr().out
    assert tool.main([*arguments, "--strict"]) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["cub", "--root", "/no/such"], "'/no/such' does not exist (nor does 'CUB_200_2011'"),
        (["cub", "/data"], "'/data' is one argument too many; the folder that holds cub is given"),
        (["folder:/a", "--draw", "/b"], "--draw draws boxes and masks, but 'folder:/a' is a class"),
        (["folder:/a", "--root", "/b"], "--root /b and 'folder:/a' both name a folder; leave"),
        (
            ["coco_2017_val", "--root", "/b"],
            "--root is for classification datasets, but 'coco_2017_val'",
        ),
    ],
)
def test_a_classification_data_set_named_in_a_wrong_way_is_one_line(
    tool, capsys, arguments, expected
):
    assert refusal(tool, capsys, *arguments).startswith(expected)
