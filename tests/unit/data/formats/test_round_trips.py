"""Round trips: what is written in a format and read is what it was; masks become polygons."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.formats import read_annotations
from bpt_det.data.formats.base import encode_mask
from bpt_det.data.formats.writing import clean_content
from bpt_det.data.polygons import mask_to_polygons
from tests.support.label_files import polygons_to_mask, write_labelme, write_voc, write_yolo

sides = st.integers(4, 60)


@st.composite
def images_of(draw, as_polygons):
    """Images by name, see `tests.support.label_files`."""
    images = {}
    for name in draw(st.sets(st.sampled_from("abc"), min_size=1)):
        height, width = draw(sides), draw(sides)
        corner = st.tuples(st.integers(0, width - 2), st.integers(0, height - 2))
        objects = []
        for number, (x, y) in enumerate(draw(st.lists(corner, min_size=1, max_size=3))):
            right, low = draw(st.integers(x + 2, width)), draw(st.integers(y + 2, height))
            box = (float(x), float(y), float(right), float(low))
            polygon = [box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3]]
            # All classes occur, as formats without a list of them number those that do.
            objects.append((number % 2, polygon if as_polygons else box))
        images[name] = ((height, width), [*objects, (1 - objects[-1][0], objects[-1][1])])
    return images


def check(writer, images):
    with tempfile.TemporaryDirectory() as folder:
        source = writer(Path(folder), images)
        content = read_annotations(str(source))
        read_coco(str(source))
    by_id = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
    names = {c["id"]: c["name"] for c in content["categories"]}
    sizes = {by_id[i["id"]]: (i["height"], i["width"]) for i in content["images"]}
    assert sizes == {name: size for name, (size, _) in images.items()}
    for name, (_, objects) in images.items():
        found = [a for a in content["annotations"] if by_id[a["image_id"]] == name]
        assert [names[a["category_id"]] for a in found] == [("cat", "dog")[k] for k, _ in objects]
        for annotation, (_, shape) in zip(found, objects, strict=True):
            if isinstance(shape, tuple):
                x, y, width, height = annotation["bbox"]
                np.testing.assert_allclose((x, y, x + width, y + height), shape, atol=1e-9)
            else:
                np.testing.assert_allclose(annotation["segmentation"], [shape], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(images_of(as_polygons=False))
def test_boxes(images):
    for writer in (write_yolo, write_voc, write_labelme):
        check(writer, images)


@settings(max_examples=15, deadline=None)
@given(images_of(as_polygons=True))
def test_polygons(images):
    for writer in (write_yolo, write_labelme):
        check(writer, images)


@given(arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))))
def test_polygons_of_a_mask_are_its_pixels(mask):
    """To the pixel where parts meet at no corner alone, and always within one."""
    polygons = mask_to_polygons(encode_mask(mask))
    if polygons is None:
        return
    again = polygons_to_mask(polygons, *mask.shape) if polygons else np.zeros_like(mask)
    differing = np.argwhere(again != mask)
    inside = np.pad(mask, 1)
    for y, x in differing:
        around = inside[y : y + 3, x : x + 3]
        assert around.any() and not around.all()


def test_a_mask_with_a_hole_has_no_polygons():
    ring = np.ones((5, 5), dtype=bool)
    ring[2, 2] = False
    assert mask_to_polygons(encode_mask(ring)) is None
    assert mask_to_polygons(encode_mask(np.zeros((5, 5)))) == []


def test_what_is_written_reads_as_the_same_dataset(tmp_path):
    numbers = np.zeros((12, 20))
    numbers[2:8, 4:10] = 1
    write_voc(tmp_path / "voc", {"a": ((12, 20), [(0, (4.0, 2.0, 10.0, 8.0))])}, {"a": numbers})
    dataset = read_coco(str(tmp_path / "voc"))
    for as_polygons in (False, True):
        file = tmp_path / "clean.json"
        file.write_text(json.dumps(clean_content(dataset, as_polygons=as_polygons)))
        again = read_coco(str(file))
        assert again.images == dataset.images and again.class_names == dataset.class_names
        (entry,) = again.objects
        mask = entry["segmentation"]
        assert isinstance(mask, list) == as_polygons
        found = polygons_to_mask(mask, 12, 20) if as_polygons else coco_mask.decode(mask)
        assert (found == (numbers == 1)).all() and entry["area"] == 36


@pytest.mark.parametrize("area", [None, 0, -5.0, float("nan")])
def test_what_is_written_has_the_areas_of_the_masks(tmp_path, area):
    triangle = np.tri(12, 20, -4, dtype=bool)  # its box is far larger
    shared = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": area}
    x, y, width, height = coco_mask.toBbox(code := encode_mask(triangle)).tolist()
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 12, "width": 20}],
        "annotations": [{**shared, "id": 1, "bbox": [x, y, width, height], "segmentation": code}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    (entry,) = clean_content(read_coco(tmp_path / "a.json"))["annotations"]
    assert entry["area"] == triangle.sum() < width * height
