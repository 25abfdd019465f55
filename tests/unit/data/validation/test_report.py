"""Reports: worst first, counted, with the first examples, and the same for scripts."""

import json

import pytest

from bpt_det.data.validation import Findings, format_report, report_as_dict
from bpt_det.data.validation.findings import place

TOTALS = {"images": 2, "annotations": 9, "categories": 3}
IMAGE = {"id": 4, "file_name": "a.jpg"}


@pytest.fixture
def findings():
    """Notes first, to be reported last."""
    found = Findings(TOTALS)
    found.add("image_without_annotations", place("images", 0, IMAGE))
    for index, number in enumerate((11, 12, 13, 14)):
        where = place("annotations", index, {"id": number, "image_id": 4}, IMAGE)
        found.add("mask_tiny", where, f"its area is {index} pixels")
    found.add("missing_key", place("annotations", 7, {"image_id": 4}), "has no id")
    found.add("wrong_type", place("categories", 1, {"id": 2, "name": 5}), "name is 5, not a text")
    return found


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


def test_a_clean_data_set_is_told_so():
    text = "2 images, 9 annotations, 3 categories\n\nnothing wrong"
    assert format_report(Findings(TOTALS)) == text


def test_long_lines_are_broken_at_words_and_paths_stay_whole():
    found = Findings(TOTALS)
    path = "/data/" + "x-" * 60
    found.add("image_missing", place("images", 0, IMAGE), f"'{path}' does not exist")
    lines = format_report(found, width=60).splitlines()
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
    assert [one["annotation_id"] for one in report["kinds"][2]["findings"]] == [11, 12, 13, 14]


def test_examples_are_kept_up_to_a_limit_while_the_count_goes_on():
    found = Findings(TOTALS)
    for index in range(10_003):
        found.add("mask_tiny", place("annotations", index, {"id": index}))
    assert (found.counts["mask_tiny"], len(found.examples["mask_tiny"])) == (10_003, 10_000)
