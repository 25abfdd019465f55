"""Reports: worst first, counted, with the first examples, and the same for scripts."""

import json

import pytest

from bpt_det.data.validation import (
    COCO_KINDS,
    FOLDER_KINDS,
    Findings,
    format_report,
    report_as_dict,
)
from bpt_det.data.validation.findings import place

HEADING = "2 images, 9 annotations, 3 categories"
TOTALS = {"images": 2, "annotations": 9, "categories": 3}
IMAGE = {"id": 4, "file_name": "a.jpg"}


def coco_findings(**options):
    return Findings(COCO_KINDS, HEADING, {"totals": TOTALS}, **options)


@pytest.fixture
def findings():
    """Notes first, to be reported last."""
    result = coco_findings()
    result.add("image_without_annotations", place("images", 0, IMAGE))
    for index, number in enumerate((11, 12, 13, 14)):
        where = place("annotations", index, {"id": number, "image_id": 4}, IMAGE)
        result.add("mask_tiny", where, f"its area is {index} pixels")
    result.add("missing_key", place("annotations", 7, {"image_id": 4}), "has no id")
    result.add("wrong_type", place("categories", 1, {"id": 2, "name": 5}), "name is 5, not a text")
    return result


def test_errors_come_first_with_counts_and_first_examples(findings):
    assert format_report(findings, num_examples=2).splitlines() == [
        "2 images, 9 annotations, 3 categories",
        "",
        "error: 1 × entries that lack a key [missing_key]",
        "    annotations[7]: has no id",
        "",
        "error: 1 × values of a wrong type [wrong_type]",
        "    category 2, 5: name is 5, not a text",
        "",
        "warning: 4 × tiny masks [mask_tiny]",
        "    annotation 11 of image 4, a.jpg: its area is 0 pixels",
        "    annotation 12 of image 4, a.jpg: its area is 1 pixels",
        "    and 2 more",
        "",
        "note: 1 × images without an annotation: left out in training [image_without_annotations]",
        "    image 4, a.jpg",
        "",
        "2 errors, 4 warnings, 1 note",
    ]


def test_a_clean_dataset_is_told_so():
    assert format_report(coco_findings()) == f"{HEADING}\n\nnothing wrong"


def test_long_lines_are_broken_at_words_and_paths_stay_whole():
    result = coco_findings()
    path = "/data/" + "x-" * 60
    result.add("image_missing", place("images", 0, IMAGE), f"'{path}' does not exist")
    lines = format_report(result, width=60).splitlines()
    assert f"      '{path}' does not exist" in lines or f"      '{path}'" in lines


def test_scripts_get_every_finding_and_the_totals(findings):
    report = json.loads(json.dumps(report_as_dict(findings)))
    assert (report["errors"], report["warnings"], report["notes"]) == (2, 4, 1)
    assert report["totals"] == TOTALS
    kinds = [(kind["kind"], kind["severity"], kind["count"]) for kind in report["kinds"]]
    assert kinds == [
        ("missing_key", "error", 1),
        ("wrong_type", "error", 1),
        ("mask_tiny", "warning", 4),
        ("image_without_annotations", "note", 1),
    ]
    assert [f["annotation_id"] for f in report["kinds"][2]["findings"]] == [11, 12, 13, 14]


def test_examples_are_kept_up_to_a_limit_while_the_count_goes_on():
    result = coco_findings(max_examples=3)
    for index in range(5):
        result.add("mask_tiny", place("annotations", index, {"id": index}))
    assert result.counts["mask_tiny"] == 5
    assert [example["annotation_id"] for example in result.examples["mask_tiny"]] == [0, 1, 2]
    assert "    and 3 more" in format_report(result, num_examples=2)


def test_findings_may_be_lines_of_text_which_are_not_broken():
    result = Findings(FOLDER_KINDS, "3 classes", {"classes": 3})
    line = "a/b.jpg (train) and " + "long name " * 20
    result.add_all("same_image_in_two_splits", [line] * 4)
    result.add("image_unreadable", "a/b.jpg (train)", "no image")
    assert format_report(result).splitlines() == [
        "3 classes",
        "",
        "error: 1 × image files that cannot be read or decoded [image_unreadable]",
        "    a/b.jpg (train): no image",
        "",
        "warning: 4 × images with the same content in two splits [same_image_in_two_splits]",
        *[f"    {line}"] * 3,
        "    and 1 more",
        "",
        "1 error, 4 warnings",
    ]
    report = report_as_dict(result)
    assert list(report) == ["classes", "errors", "warnings", "kinds"]
    assert report["kinds"][0]["findings"] == ["a/b.jpg (train): no image"]
