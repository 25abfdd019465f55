"""Whatever stands at any place of an annotation file, the check reports it or refuses the file."""

import copy
import json
import math
from datetime import timedelta

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from bpt_det.data.coco import read_annotation_file
from bpt_det.data.validation import ERROR, check_coco, format_report, report_as_dict
from bpt_det.detection import CocoEvaluator, load_dataset
from bpt_det.detection.mapper import ImageNamingMapper
from bpt_det.utils.errors import InputError
from tests.support.coco_kinds.kinds import draw_images, mask_of, sound_content

numbers = st.one_of(
    st.integers(-2, 70),
    st.sampled_from([2**31, 2**53 + 1, 2**63, -(2**64), 10**400, 1e9, math.nan, math.inf]),
    st.floats(),
    st.floats(-10, 70),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5), st.just("7"))
values = st.one_of(
    scalars,
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=6),
            st.dictionaries(st.sampled_from(["size", "counts", "id", "x"]), inner, max_size=3),
        ),
        max_leaves=12,
    ),
    st.lists(st.lists(numbers, max_size=9), max_size=3),
    st.lists(numbers, min_size=4, max_size=4),
    st.fixed_dictionaries(
        {"size": st.just([48, 64]), "counts": st.one_of(st.lists(numbers), st.text(max_size=9))}
    ),
)
# Steps into the content: into a list by position, into an object by one of its keys. Three of them
# lead to a value of an entry.
steps = st.integers(0, 11)
changes = st.lists(
    st.tuples(
        st.one_of(st.lists(steps, min_size=3, max_size=3), st.lists(steps, max_size=6)),
        st.sampled_from(["replace", "remove", "add"]),
        values,
    ),
    min_size=1,
    max_size=3,
)


def place_of(content, steps):
    """Return the list or object that the steps end in, and what of it they end at."""
    found, parent, key = content, None, None
    for step in steps:
        if not isinstance(found, list | dict) or not found:
            break
        keys = list(found) if isinstance(found, dict) else range(len(found))
        parent, key = found, keys[step % len(found)]
        found = parent[key]
    return parent, key


def change(content, steps, how, value):
    """Return the content with one place changed."""
    parent, key = place_of(content, steps)
    if parent is None:
        return value if how == "replace" else content
    if how == "remove":
        del parent[key]
    elif how == "add" and isinstance(parent, list):
        parent.insert(key, value)
    else:
        parent[key] = value
    return content


def write_changed(path, base, edits):
    """Write the sound content with changes."""
    content = sound_content(base)
    for steps, how, value in edits:
        content = change(content, steps, how, copy.deepcopy(value))
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("any_content")
    draw_images(root / "images")
    return root


any_change = given(st.sampled_from(["polygons", "rle", "boxes"]), changes)


@settings(deadline=timedelta(seconds=5))
@any_change
def test_the_check_reports_or_refuses_whatever_a_file_holds(folder, base, edits):
    write_changed(folder / "any.json", base, edits)
    try:
        content = read_annotation_file(folder / "any.json")
    except InputError as error:
        assert "\n" not in str(error)
        return
    findings = check_coco(content, None)
    format_report(findings)
    json.dumps(report_as_dict(findings), allow_nan=False).encode()


@any_change
def test_what_the_check_accepts_can_be_trained_and_evaluated_on_and_nothing_else(
    folder, base, edits
):
    path, root = folder / "any.json", folder / "images"
    write_changed(path, base, edits)
    try:
        content = read_annotation_file(path)
        num_errors = check_coco(content, str(root)).total(ERROR)
    except InputError:
        num_errors = 1
    try:
        DatasetCatalog.pop("any", None)
        MetadataCatalog.pop("any", None)
        records = load_dataset("any", filter_empty=False, json_file=str(path), image_root=str(root))
    except InputError as error:
        assert num_errors, error
        assert "\n" not in str(error)
        return
    assert not num_errors
    if "annotations" not in content:  # nothing to train on or to score
        return
    has_masks = any("segmentation" in a for record in records for a in record["annotations"])
    mapper = ImageNamingMapper(
        is_train=True,
        augmentations=[T.ResizeShortestEdge(64, 64)],
        image_format="RGB",
        use_instance_mask=has_masks,
        instance_mask_format="bitmask",
        recompute_boxes=has_masks,
    )
    evaluator = CocoEvaluator("any", None, ["bbox", *(["segm"] if has_masks else [])])
    evaluator.reset()
    for record in records:
        instances = mapper(record)["instances"]
        assert torch.isfinite(instances.gt_boxes.tensor).all()
        evaluator.process([record], [{"instances": perfect_instances(record, has_masks)}])
    for metrics in (evaluator.evaluate() or {}).values():
        assert metrics["AP"] == pytest.approx(100) or math.isnan(metrics["AP"])


def perfect_instances(record, has_masks):
    """Return as predictions what a record says is there."""
    objects = [a for a in record["annotations"] if not a["iscrowd"]]
    instances = Instances((record["height"], record["width"]))
    boxes = np.array([a["bbox"] for a in objects], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances.pred_boxes = Boxes(torch.tensor(boxes))
    instances.scores = torch.ones(len(objects))
    instances.pred_classes = torch.tensor([a["category_id"] for a in objects], dtype=torch.long)
    if has_masks:
        masks = [mask_of(a, record) for a in objects]
        instances.pred_masks = torch.tensor(np.array(masks).reshape(-1, *instances.image_size))
    return instances
