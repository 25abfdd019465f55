"""Shapes dataset: determinism, layout, exact masks, and refusals."""

import contextlib
import hashlib
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from bpt_det.shapes import CATEGORIES, render_image, write_shapes
from bpt_det.shapes import dataset as shapes_dataset
from bpt_det.shapes.__main__ import main
from bpt_det.shapes.output_folder import make_folder
from bpt_det.shapes.segmentation import encode_segmentation, run_lengths, trace_loops
from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2

NUM_IMAGES = {"train": 120, "val": 12}
SEED = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets") / "shapes"
    write_shapes(root, NUM_IMAGES["train"], NUM_IMAGES["val"], seed=SEED)
    return root


@pytest.fixture(scope="module")
def coco(root):
    return COCO(str(root / "annotations" / "instances_train.json"))


def file_hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def read_annotations(root: Path, split: str = "train") -> dict:
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


def decode(segmentation, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        code = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        code = coco_mask.frPyObjects(segmentation, height, width)
    else:
        code = segmentation
    return coco_mask.decode(code).astype(bool)


def annotations_with_rendered_masks(coco: COCO):
    """Yield each annotation with its image's record and the mask it was made from."""
    for image in coco.dataset["images"]:
        instances = render_image(SEED, image["id"] - 1).instances
        annotations = coco.imgToAnns[image["id"]]
        for annotation, instance in zip(annotations, instances, strict=True):
            yield image, annotation, instance.mask


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    write_shapes(tmp_path / "one", 5, 3, seed=7)
    write_shapes(tmp_path / "two", 5, 3, seed=7)
    assert file_hashes(tmp_path / "one") == file_hashes(tmp_path / "two")


def test_another_seed_or_split_gives_another_image():
    pictures = [
        render_image(7, 0),
        render_image(8, 0),
        render_image(7, 1),
        render_image(7, 0, split="val"),
    ]
    assert len({rendered.image.tobytes() for rendered in pictures}) == 4


def test_a_larger_dataset_begins_with_the_smaller_one(root, tmp_path):
    write_shapes(tmp_path / "small", 9, 2, seed=SEED)
    small, large = read_annotations(tmp_path / "small"), read_annotations(root)
    for key in ("images", "annotations"):
        assert small[key] == large[key][: len(small[key])]
    hashes = file_hashes(root)
    for name, digest in file_hashes(tmp_path / "small").items():
        assert not name.endswith(".jpg") or hashes[name] == digest


def test_the_layout_is_that_of_coco(root):
    for split, count in NUM_IMAGES.items():
        listed = [image["file_name"] for image in read_annotations(root, split)["images"]]
        assert listed[0] == "000000000001.jpg"
        assert sorted(path.name for path in (root / split).iterdir()) == listed
        assert len(listed) == count


def test_every_picture_has_the_size_that_is_recorded(root):
    images = read_annotations(root)["images"]
    for image in images:
        pixels = cv2.imread(str(root / "train" / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
        assert max(pixels.shape) == 128
    assert len({(image["height"], image["width"]) for image in images}) == 5


@pytest.mark.parametrize("image_size", [64, 250])
def test_the_longest_side_is_the_image_size(image_size):
    assert {max(render_image(0, i, image_size=image_size).image.shape) for i in range(6)} == {
        image_size
    }


def test_area_and_box_are_those_of_the_decoded_mask(coco):
    for annotation in coco.dataset["annotations"]:
        image = coco.imgs[annotation["image_id"]]
        mask = decode(annotation["segmentation"], image["height"], image["width"])
        ys, xs = np.nonzero(mask)
        left, top, width, height = annotation["bbox"]
        assert annotation["area"] == len(xs)
        assert (left, top) == (xs.min(), ys.min())
        assert (left + width, top + height) == (xs.max() + 1, ys.max() + 1)


def test_every_segmentation_decodes_to_the_rendered_mask_exactly(coco):
    for image, annotation, mask in annotations_with_rendered_masks(coco):
        decoded = decode(annotation["segmentation"], image["height"], image["width"])
        np.testing.assert_array_equal(decoded, mask)


def test_visible_masks_of_an_image_are_disjoint():
    for index in range(30):
        rendered = render_image(SEED, index)
        times_claimed = np.zeros(rendered.image.shape[:2], dtype=int)
        for instance in rendered.instances:
            times_claimed += instance.mask
        assert times_claimed.max() <= 1


@pytest.mark.parametrize(("seed", "index"), [(0, 30), (0, 56), (2, 22)])
def test_in_a_full_image_an_object_without_a_place_is_left_out(seed, index):
    instances = render_image(seed, index, image_size=64).instances
    assert min(instance.visible_fraction for instance in instances) > 0.4


def test_no_object_is_smaller_than_sixteen_pixels(coco):
    assert min(annotation["area"] for annotation in coco.dataset["annotations"]) >= 16


def test_pixels_outside_every_mask_belong_to_the_background_texture():
    """No object is painted without being annotated: far from masks only two colors mix."""
    for index in range(20):
        rendered = render_image(SEED, index)
        covered = np.zeros(rendered.image.shape[:2], dtype=np.uint8)
        for instance in rendered.instances:
            covered |= instance.mask
        free = cv2.dilate(covered, np.ones((5, 5), np.uint8)) == 0
        pixels = rendered.image[free].astype(float)
        if len(pixels) < 100:
            continue
        # Two colors mix along a line: what lies off it is grain, of standard deviation 3.
        off_line = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)[2][1:]
        distance = np.linalg.norm((pixels - pixels.mean(axis=0)) @ off_line.T, axis=1)
        assert distance.max() < 25


def test_holes_are_compressed_rle_and_crowds_uncompressed_rle(coco):
    for _, annotation, mask in annotations_with_rendered_masks(coco):
        # Background that cannot be reached from outside; it passes between diagonal neighbors.
        num_regions, _ = cv2.connectedComponents(
            np.pad(~mask, 1, constant_values=True) * np.uint8(1)
        )
        segmentation = annotation["segmentation"]
        if annotation["iscrowd"]:
            assert isinstance(segmentation["counts"], list)
        elif num_regions > 2:
            assert isinstance(segmentation["counts"], str)
        else:
            assert isinstance(segmentation, list)


def test_polygons_are_as_many_as_the_visible_parts(coco):
    for _, annotation, mask in annotations_with_rendered_masks(coco):
        if isinstance(annotation["segmentation"], list):
            num_labels, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
            assert len(annotation["segmentation"]) == num_labels - 1


def test_the_set_holds_crowds_holes_split_objects_and_an_empty_image(coco):
    kinds = Counter()
    for annotation in coco.dataset["annotations"]:
        segmentation = annotation["segmentation"]
        kinds["crowd"] += annotation["iscrowd"]
        kinds["hole"] += isinstance(segmentation, dict) and not annotation["iscrowd"]
        kinds["split"] += isinstance(segmentation, list) and len(segmentation) > 1
    kinds["empty image"] = sum(not coco.imgToAnns[image_id] for image_id in coco.imgs)
    assert min(kinds.values()) >= 1, kinds


def test_every_category_occurs_and_no_other_one(coco):
    used = {annotation["category_id"] for annotation in coco.dataset["annotations"]}
    assert used == {category.id for category in CATEGORIES} == set(coco.cats)
    assert {cat["id"]: cat["name"] for cat in coco.cats.values()} == {
        category.id: category.name for category in CATEGORIES
    }


def test_category_ids_are_unique_and_have_gaps():
    ids = [category.id for category in CATEGORIES]
    assert ids == sorted(set(ids))
    assert ids[-1] > len(ids)


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.name)
def test_a_silhouette_fits_its_unit_frame(category):
    for seed in range(20):
        loops = category.silhouette(np.random.default_rng(seed))
        assert len(loops) == (2 if category.name in ("ring", "frame") else 1)
        reach = np.linalg.norm(np.concatenate(loops), axis=1).max()
        assert 0.9 <= reach <= 1.4


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_any_mask_survives_its_segmentation(density):
    """Noise has every local pattern: diagonal neighbors, one-pixel parts, holes in corners."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random((7, 11)) < density
        mask[3, 5] = True
        for is_crowd in (False, True):
            np.testing.assert_array_equal(decode(encode_segmentation(mask, is_crowd), 7, 11), mask)


def test_run_lengths_equal_a_plain_loop():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = rng.random((4, 6)) < 0.5
        counts, value = [0], False
        for column in range(6):
            for row in range(4):
                if mask[row, column] != value:
                    counts.append(0)
                    value = not value
                counts[-1] += 1
        assert run_lengths(mask) == {"size": [4, 6], "counts": counts}


def test_a_rectangle_is_traced_through_the_middles_of_its_border():
    mask = np.zeros((5, 8), dtype=bool)
    mask[1:4, 2:7] = True
    (loop,) = trace_loops(mask)
    cut_corners = {(2.5, 1), (6.5, 1), (7, 1.5), (7, 3.5), (6.5, 4), (2.5, 4), (2, 3.5), (2, 1.5)}
    assert sorted(map(tuple, loop.tolist())) == sorted(cut_corners)


def test_the_same_dataset_is_not_written_twice(tmp_path, monkeypatch):
    write_shapes(tmp_path / "shapes", 2, 1)
    monkeypatch.setattr(shapes_dataset, "render_image", lambda *_, **__: pytest.fail("rendered"))
    write_shapes(tmp_path / "shapes", 2, 1)


def test_another_dataset_is_not_overwritten(tmp_path):
    root = tmp_path / "shapes"
    write_shapes(root, 2, 1)
    before = file_hashes(root)
    with pytest.raises(
        InputError,
        match=r"shapes holds another dataset \(num_train=2, .*\) than the one asked for "
        r"\(num_train=3, .*\); choose another output folder or delete this one\.",
    ):
        write_shapes(root, 3, 1)
    assert file_hashes(root) == before


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds no shapes dataset .*; choose another output"):
        write_shapes(tmp_path, 2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled(tmp_path):
    root = tmp_path / "shapes"
    root.mkdir()
    write_shapes(root, 1, 1)
    assert (root / "shapes.json").is_file()


@pytest.mark.parametrize("is_same", [True, False])
def test_a_dataset_that_another_process_puts_there_meanwhile_is_kept(tmp_path, is_same):
    root, record = tmp_path / "shapes", {"num_train": 2 if is_same else 3}

    def write(folder):
        root.mkdir()
        (root / "shapes.json").write_text(json.dumps(record))

    refused = pytest.raises(InputError, match="shapes holds another dataset")
    with contextlib.nullcontext() if is_same else refused:
        make_folder(root, {"num_train": 2}, "shapes.json", write)
    assert json.loads((root / "shapes.json").read_text()) == record
    assert list(tmp_path.iterdir()) == [root]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes_dataset, "render_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path / "shapes", 2, 1)
    assert list(tmp_path.iterdir()) == []


def test_all_arguments_out_of_range_are_named_at_once(tmp_path):
    with pytest.raises(
        InputError,
        match="num_train must be at least 1, got 0; num_val must be at least 1, got -2; "
        "image_size must be at least 64, got 63; seed must be at least 0, got -1",
    ):
        write_shapes(tmp_path / "shapes", 0, -2, image_size=63, seed=-1)


def test_the_command_line_prints_its_help(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    assert "python -m bpt_det.shapes --output" in capsys.readouterr().out


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bpt_det.shapes", "--output", "x", "--seed", "-1"])
    monkeypatch.delitem(sys.modules, "bpt_det.shapes.__main__")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("bpt_det.shapes", run_name="__main__")
    assert "seed must be at least 0, got -1" in capsys.readouterr().err


def test_the_command_line_writes_a_dataset(tmp_path):
    root = tmp_path / "deep" / "shapes"
    assert main(["--output", str(root), "--num-train", "2", "--num-val", "1"]) == 0
    assert len(list((root / "train").iterdir())) == 2


def test_the_command_line_reports_an_unwritable_folder_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / "shapes"
    assert main(["--output", str(root), "--num-train", "1", "--num-val", "1"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert f"error: cannot write the dataset to {root}: Not a directory" in errors[-1]
    assert not any("Traceback" in line for line in errors)


def test_detectron2_loads_every_annotation_and_maps_the_ids(root, coco):
    coco_data = pytest.importorskip("detectron2.data.datasets.coco")
    catalog = pytest.importorskip("detectron2.data").MetadataCatalog
    name = "test_shapes_train"
    try:
        records = coco_data.load_coco_json(
            str(root / "annotations" / "instances_train.json"), str(root / "train"), name
        )
        metadata = catalog.get(name)
        assert metadata.thing_classes == [category.name for category in CATEGORIES]
        loaded = [annotation for record in records for annotation in record["annotations"]]
        ids = [CATEGORIES[annotation["category_id"]].id for annotation in loaded]
        assert ids == [
            annotation["category_id"]
            for image_id in sorted(coco.imgs)
            for annotation in coco.imgToAnns[image_id]
        ]
    finally:
        catalog.pop(name, None)
