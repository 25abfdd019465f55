"""One fault of every kind is found, named and counted; a clean dataset is clean."""

import copy
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from bpt_det.data.validation import COCO_KINDS, ERROR, Limits, check_coco, format_report
from tests.support.dataset_faults import ALONE, ALSO, FAULTS


@pytest.fixture
def images(shapes_root, tmp_path):
    """Folder of 12 images that a test may spoil."""
    return shutil.copytree(shapes_root / "train", tmp_path / "images")


@pytest.fixture
def content(shapes_root):
    """78 annotations of 10 categories that a test may spoil."""
    return json.loads((shapes_root / "annotations/instances_train.json").read_text())


def rectangle(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def test_a_clean_dataset_is_clean(content, images):
    findings = check_coco(content, str(images))
    assert findings.counts == findings.examples == {}
    assert findings.facts == {"totals": {"images": 12, "annotations": 78, "categories": 10}}


def test_a_check_changes_nothing(content, images):
    before = copy.deepcopy(content)
    check_coco(content, str(images))
    assert content == before


def test_real_photographs_have_no_errors(coco_root):
    path = coco_root / "annotations/instances_val2017.json"
    findings = check_coco(json.loads(path.read_text()), str(coco_root / "val2017"))
    assert findings.kinds(ERROR) == []


# Of one file; tests/e2e/test_formats.py has the one of two.
KINDS = [kind for kind in COCO_KINDS if kind != "same_image_in_two_splits"]


def test_every_kind_has_its_fault():
    assert set(FAULTS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_found_where_it_is_and_nothing_else(kind, content, images):
    entry, detail = FAULTS[kind](content, images)
    findings = check_coco(content, str(images))
    example = findings.examples[kind][0]
    assert example["entry"] == entry
    assert example["detail"].startswith(detail) and bool(example["detail"]) == bool(detail)
    if kind not in ALONE:
        assert findings.counts == {kind: 1, **ALSO.get(kind, {})}


def test_all_faults_are_found_at_once(content, images):
    expected = Counter()
    for kind, spoil in FAULTS.items():
        if kind not in ALONE:
            spoil(content, images)
            expected += Counter({kind: 1, **ALSO.get(kind, {})})
    assert check_coco(content, str(images)).counts == expected


def test_a_finding_names_the_ids_and_the_file(content, images):
    FAULTS["bbox_negative_size"](content, images)
    assert check_coco(content, None).examples["bbox_negative_size"] == [
        {
            "entry": "annotations[48]",
            "annotation_id": 49,
            "image_id": 6,
            "file_name": "000000000006.jpg",
            "detail": "bbox [25, 6, -13, 18]; it is x, y, width, height",
        }
    ]


def test_image_files_are_left_out_without_a_folder(content, images):
    FAULTS["image_missing"](content, images)
    assert check_coco(content, None).counts == {}


@pytest.mark.parametrize(
    ("limits", "kinds"),
    [
        (Limits(min_mask_area=28), {"mask_tiny": 1}),  # annotation 14 has 26
        (Limits(min_mask_area=26), {}),
        (Limits(min_box_iou=0.8), {"mask_box_mismatch": 1}),
        (Limits(min_box_iou=0.7), {}),
    ],
)
def test_thresholds_decide(content, limits, kinds):
    """The mask of annotation 28 covers 22 x 22 pixels, its box 22 x 16 of them: IoU 0.727."""
    content["annotations"][27].update(bbox=[14, 16, 22, 16], segmentation=rectangle(14, 16, 22, 22))
    assert check_coco(content, None, limits).counts == kinds


def test_boxes_as_two_corners_disagree_with_their_masks(content):
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]
    findings = check_coco(content, None)
    assert findings.counts["mask_box_mismatch"] > 30


@pytest.mark.parametrize("beyond", [0.5, 1.0])
def test_rounding_at_the_border_is_no_fault(content, beyond):
    content["annotations"][15].update(
        bbox=[30, 35, 18 + beyond, 8], segmentation=rectangle(30, 35, 18 + beyond, 8)
    )
    assert check_coco(content, None).counts == {}


def test_a_mask_of_several_parts_is_measured_as_their_union(content):
    """Three pixels, and three of which two are the same."""
    parts = [*rectangle(32, 3, 3, 1), *rectangle(33, 3, 3, 1)]
    content["annotations"][33].update(bbox=[32, 3, 4, 1], segmentation=parts)
    findings = check_coco(content, None, Limits(min_mask_area=5))
    assert findings.examples["mask_tiny"][0]["detail"] == "its area is 4 pixels, less than 5"


@pytest.mark.parametrize(
    ("segmentation", "kind", "detail"),
    [
        ([1, 2, 9, 2, 9, 9], "polygon_malformed", "its numbers are in no list"),
        ([[1, 2, 9, 2, 9, 9, 3]], "polygon_malformed", "a polygon of 7 numbers"),
        ([[1, 2, 9, 2, 9, None]], "polygon_malformed", "a polygon is no list of finite numbers"),
        ("mask.png", "wrong_type", "segmentation is of type str, not polygons or RLE"),
        ({"counts": "a"}, "rle_size", "size is None, not the image's [height, width] [64, 64]"),
        (
            {"size": [64, 64], "counts": "\x7f"},
            "rle_malformed",
            "counts is truncated or not a valid RLE code",
        ),
        (
            {"size": [64, 64]},
            "rle_malformed",
            "counts is of type NoneType, not text or list",
        ),
    ],
)
def test_malformed_masks_are_told_apart(content, segmentation, kind, detail):
    content["annotations"][45]["segmentation"] = segmentation
    findings = check_coco(content, None)
    assert findings.counts == {kind: 1}
    assert findings.examples[kind][0]["detail"].startswith(detail)


@pytest.mark.parametrize("far", [1e9, -1e9])
def test_a_polygon_far_away_is_not_drawn(content, far):
    """Drawing it would take as long as it is large."""
    content["annotations"][45]["segmentation"] = [[21, 5, far, 5, 21, 32]]
    counts = check_coco(content, None).counts
    assert counts == {"far_outside": 1}


@pytest.mark.parametrize("name", ["images", "annotations", "categories"])
@pytest.mark.parametrize("entry", [None, 3, "text", [1, 2]])
def test_an_entry_without_keys_is_named(content, name, entry):
    content[name].append(entry)
    findings = check_coco(content, None)
    assert findings.counts == {"wrong_type": 1}
    assert findings.examples["wrong_type"] == [
        {
            "entry": f"{name}[{len(content[name]) - 1}]",
            "detail": f"{entry!r} is no object with keys",
        }
    ]


def test_entries_without_any_key_lack_all_of_them(content):
    content["images"].append({})
    examples = check_coco(content, None).examples["missing_key"]
    assert [example["detail"] for example in examples] == [
        f"has no {key}" for key in ("id", "file_name", "height", "width")
    ]


def test_categories_of_broken_annotations_are_not_called_empty(content):
    for annotation in content["annotations"]:
        del annotation["bbox"]
    assert check_coco(content, None).counts == {"missing_key": 78}


def test_an_image_turned_by_its_exif_data_is_explained(content, images):
    path = images / "000000000002.jpg"  # 64 high, 48 wide
    image = Image.open(path)
    exif = image.getexif()
    exif[274] = 6  # orientation: a quarter turn
    image.save(path, exif=exif)
    examples = check_coco(content, str(images)).examples["image_size_differs"]
    assert [example["detail"] for example in examples] == [
        "64 x 48 pixels, recorded as 48 x 64; images are turned upright as EXIF data say, this "
        "record is not"
    ]


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 2**70, 10**400, 1e308, float("nan"), "", "7", [], [[]], {}, [None] * 4]
    + [[1, 2, 3, 10**400], [[1e9] * 6], {"size": [64, 64], "counts": "o"}, {"size": 3}],
)
def test_a_check_reports_whatever_a_value_is_replaced_by(content, value):
    for name in ("images", "annotations", "categories"):
        for key in content[name][7]:
            spoilt = {**content, name: list(content[name])}
            spoilt[name][7] = {**content[name][7], key: value}
            format_report(check_coco(spoilt, None))


@pytest.mark.parametrize(
    "change", [lambda c: c.update(annotations=[]), lambda c: c.pop("annotations")]
)
def test_a_file_without_annotations_is_told(content, images, change):
    """As of test-dev: there is nothing to train on or to score, but results can be written."""
    change(content)
    findings = check_coco(content, str(images))
    assert findings.kinds(ERROR) == []
    assert findings.counts["no_annotations"] == 1


def test_an_image_of_16_bits_that_may_have_10_cannot_be_used(content, images):
    file_name = content["images"][0]["file_name"]
    height, width = content["images"][0]["height"], content["images"][0]["width"]
    pixels = np.full((height, width), 700, dtype=np.uint16)
    Image.fromarray(pixels).save(images / file_name, format="PNG")
    findings = check_coco(content, str(images))
    (example,) = findings.examples["image_unreadable"]
    assert example["file_name"] == file_name
    assert "may be of 10 bits" in example["detail"]


def test_what_is_clear_at_once_has_no_fault_alone(content):
    """Regular polygons of all sizes, in and beyond the image, with right and wrong areas."""
    rng = np.random.default_rng(0)
    annotations = []
    for number in range(400):
        x, y, radius = rng.uniform(-5, 55), rng.uniform(-5, 60), rng.choice([0.3, 1, 2, 4, 9])
        angles = 2 * np.pi * np.arange(7) / 7
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        low, size = points.min(axis=0), np.ptp(points, axis=0)
        annotations.append(
            {
                **content["annotations"][number % 78],
                "id": number,
                "bbox": [*low.tolist(), *size.tolist()],
                "area": float(2.74 * radius**2 * rng.choice([1, 1, 3])),
                "segmentation": [points.reshape(-1).tolist()],
            }
        )
    together = check_coco({**content, "annotations": annotations}, None)
    alone: Counter = Counter()
    for annotation in annotations:  # a box of another kind beside it: nothing is clear
        odd = {**annotation, "bbox": None}
        alone += Counter(check_coco({**content, "annotations": [annotation, odd]}, None).counts)
    for kind in ("mask_empty", "mask_tiny", "mask_beyond_image", "area_mismatch"):
        assert together.counts[kind] > 0
        assert 2 * together.counts[kind] == alone[kind], kind


def test_255_polygons_are_a_mask_and_so_are_more(content):
    x, y, width, height = content["annotations"][45]["bbox"]
    content["annotations"][45]["segmentation"] *= 300
    assert check_coco(content, None).counts == {}
