"""Everything that is wrong with the images of a classification dataset is found at once."""

import json
import shutil

import pytest

from bpt_det.classification.layouts.reading import read_dataset
from bpt_det.data.validation import check_labeled, format_report, report_as_dict
from tests.support import class_trees


@pytest.fixture
def root(tmp_path):
    return class_trees.write_class_folders(tmp_path, ("train", "val", "test"))


def check(root, **options):
    return check_labeled(read_dataset(f"folder:{root}"), **options)


def paths(root, split):
    return sorted((root / split).rglob("*.JPEG"))


def test_a_clean_dataset_has_no_findings(root):
    findings = check(root)
    assert findings.examples == {}
    assert format_report(findings) == (
        f"folder:{root}: 3 classes, '{root}'\n"
        "    train: 30 images, 4 to 16 per class\n"
        "    val: 10 images, 2 to 5 per class\n"
        "    test: 6 images, 1 to 3 per class\n\n"
        "nothing wrong"
    )


def test_every_corrupt_image_is_named_with_its_split_and_reason(root):
    broken = [*paths(root, "train")[:4], paths(root, "test")[2]]
    for path in broken:
        path.write_bytes(path.read_bytes()[:40])
    report = format_report(check(root))
    assert "\nerror: 5 × image files that cannot be read or decoded [image_unreadable]\n" in report
    for path in broken:
        name = path.relative_to(root).as_posix()
        assert f"    {name} ({name.split('/')[0]}): image '{path}' cannot be read (" in report
    assert report.endswith("\n5 errors, 0 warnings")


def test_every_missing_image_is_named(tmp_path):
    class_trees.write_cub(tmp_path)
    gone = sorted((tmp_path / "images").rglob("*.jpg"))[::9]
    for path in gone:
        path.unlink()
    lines = check_labeled(read_dataset("cub", tmp_path)).examples["image_missing"]
    assert [line.split(" ")[0] for line in lines] == [f"{p.relative_to(tmp_path)}" for p in gone]


def test_the_same_picture_in_two_splits_is_a_warning_that_names_both(root):
    source, target = paths(root, "train")[0], paths(root, "val")[0]
    shutil.copy(source, target)
    findings = check(root)
    train, val = (path.relative_to(root) for path in (source, target))
    assert findings.examples == {"same_image_in_two_splits": [f"{train} (train) and {val} (val)"]}
    assert (findings.total("error"), findings.total("warning")) == (0, 1)


def test_the_same_picture_under_two_labels_is_a_warning(root):
    first, *_, last = paths(root, "train")
    shutil.copy(first, last)
    assert list(check(root).examples) == ["same_image_in_two_classes"]


def test_a_class_that_cannot_be_evaluated_is_a_warning(root):
    shutil.rmtree(root / "test/n02119789")
    assert check(root).examples == {"class_without_images": ["n02119789 (test)"]}


def test_counts_other_than_expected_are_warnings(tmp_path):
    class_trees.write_flowers(tmp_path)
    assert check_labeled(read_dataset("flowers", tmp_path)).examples == {
        "count_differs": [
            "train has 30 images, expected 1,020",
            "val has 6 images, expected 1,020",
            "test has 10 images, expected 6,149",
            "3 classes, expected 102",
        ]
    }


def test_images_can_be_left_out(root):
    paths(root, "train")[0].write_bytes(b"")
    assert check(root, skip_images=True).examples == {}


def test_an_archive_is_checked_as_its_folder(root, tmp_path):
    paths(root, "val")[3].write_bytes(b"no image")
    archive = class_trees.zip_tree(root, tmp_path / "packed.zip")
    for findings in (check(root), check(archive, num_workers=3)):
        assert list(findings.examples) == ["image_unreadable"]
        names = [line.split(" ")[0] for line in findings.examples["image_unreadable"]]
        assert names == [paths(root, "val")[3].relative_to(root).as_posix()]


def test_errors_are_all_shown_and_warnings_shortened_unless_a_number_is_given(root):
    for source, target in zip(paths(root, "train"), paths(root, "val")[:4], strict=False):
        shutil.copy(source, target)
    for path in paths(root, "test")[:4]:
        path.write_bytes(b"")
    findings = check(root)
    assert format_report(findings).count("    and 1 more") == 1
    assert format_report(findings, 2).count("    and 2 more") == 2


def test_scripts_get_all_of_it(root):
    paths(root, "train")[0].write_bytes(b"")
    report = json.loads(json.dumps(report_as_dict(check(root))))
    assert (report["errors"], report["warnings"], report["classes"]) == (1, 0, 3)
    assert report["images"] == {"train": 30, "val": 10, "test": 6}
    [kind] = report["kinds"]
    assert (kind["kind"], kind["severity"], kind["count"]) == ("image_unreadable", "error", 1)
