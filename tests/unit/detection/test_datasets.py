"""Detection datasets: faults are named before a run starts."""

import copy
import json
import re
import zipfile
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.images import read_rgb
from bpt_det.detection import load_dataset
from bpt_det.utils.errors import InputError
from tests.support.tars import write_tar

SIZES = {3: (20, 30), 5: (24, 16), 8: (12, 14)}  # (H, W) by image id
CATEGORIES = {2: "cat", 7: "dog", 9: "hen"}


def annotation(number, image_id, category_id, iscrowd=0):
    """A rectangle of 4 x 6 pixels, as a polygon."""
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": iscrowd,
        "area": 24,
        "bbox": [2, 3, 4, 6],
        "segmentation": [[2, 3, 6, 3, 6, 9, 2, 9]],
    }


def coco_content():
    """Two images with objects, a third with a crowd region alone."""
    return {
        "images": [
            {"id": image_id, "file_name": f"{image_id}.jpg", "height": height, "width": width}
            for image_id, (height, width) in SIZES.items()
        ],
        "annotations": [
            annotation(1, 3, 7),
            annotation(2, 3, 2),
            annotation(3, 5, 9),
            annotation(4, 8, 2, iscrowd=1),
        ],
        "categories": [{"id": key, "name": name} for key, name in CATEGORIES.items()],
    }


class Folder:
    """A dataset on disk, and the arguments that load it."""

    def __init__(self, root, name):
        self.images, self.json_file = root / "images", root / "instances.json"
        self.images.mkdir()
        for image_id, (height, width) in SIZES.items():
            Image.new("RGB", (width, height)).save(self.images / f"{image_id}.jpg")
        self.write(coco_content())
        self.arguments = {
            "names": name,
            "json_file": str(self.json_file),
            "image_root": str(self.images),
        }

    def write(self, content):
        self.json_file.write_text(json.dumps(content))

    def change(self, **lists):
        self.write({**coco_content(), **lists})

    def pack(self, suffix, inside):
        """Put all of it into an archive, from where it is loaded then."""
        root = self.json_file.parent
        files = {f"{inside}images/{p.name}": p.read_bytes() for p in self.images.iterdir()}
        files[f"{inside}instances.json"] = self.json_file.read_bytes()
        archive = root / f"all.{suffix}"
        if suffix == "tar":
            write_tar(archive, files)
        else:
            with zipfile.ZipFile(archive, "w") as file:
                for name, data in files.items():
                    file.writestr(name, data)
        self.arguments["json_file"] = f"{archive}/{inside}instances.json"
        self.arguments["image_root"] = f"{archive}/{inside}images"
        return archive

    def load(self, **kwargs):
        return load_dataset(**self.arguments, **kwargs)

    def refusal(self, **kwargs):
        with pytest.raises(InputError) as caught:
            self.load(**kwargs)
        return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    """A dataset under a name of its own, registered by the test and unregistered after it."""
    registered = set(DatasetCatalog.list())
    yield Folder(tmp_path, f"farm_{tmp_path.name}")
    for name in set(DatasetCatalog.list()) - registered:
        DatasetCatalog.remove(name)
    for name in set(MetadataCatalog.list()) - registered:
        MetadataCatalog.remove(name)


def test_a_coco_folder_is_loaded_in_detectron2s_form(folder):
    records = folder.load(num_classes=3)
    assert [record["image_id"] for record in records] == [3, 5]  # 8 holds a crowd alone
    assert records[0]["file_name"] == str(folder.images / "3.jpg")
    assert (records[0]["height"], records[0]["width"]) == SIZES[3]
    assert [a["category_id"] for a in records[0]["annotations"]] == [1, 0]  # contiguous
    assert MetadataCatalog.get(folder.arguments["names"]).thing_classes == ["cat", "dog", "hen"]


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize("inside", ["", "coco/"])
def test_a_dataset_in_an_archive_is_that_of_its_folder(folder, suffix, inside):
    unpacked = folder.load()
    root = folder.pack(suffix, inside)
    folder.arguments["names"] += " packed"
    packed = folder.load(num_classes=3)
    for records, place in ((packed, f"{root}/{inside}"), (unpacked, str(folder.images))):
        for record in records:
            assert record["file_name"].startswith(place)
            pixels = read_rgb(record["file_name"])
            record["pixels"] = (pixels.shape, int(pixels.sum()))
            record["file_name"] = record["file_name"].rpartition("/")[2]
    assert packed == unpacked


def test_what_is_missing_in_an_archive_is_named_with_what_is_there(folder):
    root = folder.pack("zip", "coco/")
    folder.arguments["image_root"] = str(root)
    text = f"3 of 3 listed images do not exist .*; give '{root}/coco/images' as their folder"
    with pytest.raises(InputError, match=text):
        folder.load(filter_empty=False)
    folder.arguments["names"] += " again"
    folder.arguments["image_root"] = f"{root}/coco/val"
    with pytest.raises(InputError, match="image folder '.*/coco/val' does not exist"):
        folder.load()
    with pytest.raises(InputError, match="no 'instances.json' in the archive, but 'coco/inst"):
        read_coco(f"{root}/instances.json")


def test_names_written_in_another_way_are_found_in_an_archive_too(folder, caplog):
    content = coco_content()
    content["images"][0]["file_name"] = "./3.JPG"
    folder.write(content)
    folder.pack("zip", "")
    assert [Path(record["file_name"]).name for record in folder.load()] == ["3.jpg", "5.jpg"]
    assert "1 of 2 images are found under names that are written in another way" in caplog.text


def test_a_rendered_shapes_folder_is_loaded(folder, shapes_root):
    folder.arguments["json_file"] = str(shapes_root / "annotations/instances_val.json")
    folder.arguments["image_root"] = str(shapes_root / "val")
    assert len(folder.load(num_classes=10, filter_empty=False)) == 6


def test_the_embedded_dataset_is_registered_under_the_data_folder():
    for split in ("train", "val"):
        metadata = MetadataCatalog.get(f"shapes_{split}")
        assert metadata.json_file.endswith(f"shapes/annotations/instances_{split}.json")
        assert metadata.image_root.endswith(f"shapes/{split}")


def test_a_folder_is_loaded_again_under_its_name(folder):
    first = folder.load()
    assert folder.load() == first
    assert load_dataset(folder.arguments["names"]) == first


def test_what_is_done_to_records_does_not_reach_those_of_the_next_load(folder):
    content = coco_content()
    content["annotations"][1]["segmentation"] = {"size": [20, 30], "counts": [43, 6, 14, 6, 531]}
    content["annotations"][2]["keypoints"] = [3, 4, 2]
    folder.write(content)
    first = folder.load(filter_empty=False)
    before = copy.deepcopy(first)
    for record in first:
        for item in record["annotations"]:
            item["bbox"][2] *= 2
            mask = item["segmentation"]
            if isinstance(mask, list):
                mask[0][0] += 1
                mask.append(mask[0])
            else:
                mask["counts"] = b""
            item.get("keypoints", []).clear()
    assert folder.load(filter_empty=False) == before != first


def test_images_without_objects_stay_where_asked_for(folder):
    records = folder.load(filter_empty=False)
    assert [record["image_id"] for record in records] == [3, 5, 8]


def test_a_subset_comes_in_the_order_asked_for(folder):
    records = folder.load(filter_empty=False, image_ids=[8, 3])
    assert [record["image_id"] for record in records] == [8, 3]


def test_an_image_id_that_is_absent_or_filtered_is_named(folder):
    name = folder.arguments["names"]
    assert folder.refusal(image_ids=[3, 4]) == f"dataset '{name}' has no usable image with id 4."
    assert folder.refusal(image_ids=[8]) == f"dataset '{name}' has no usable image with id 8."


def test_a_missing_folder_is_named(folder):
    name, absent = folder.arguments["names"], folder.images.parent / "absent"
    folder.arguments.update(image_root=str(absent), json_file=str(absent / "instances.json"))
    assert folder.refusal() == f"dataset '{name}': image folder '{absent}' does not exist."


def test_a_missing_annotation_file_is_named_with_a_hint(folder):
    folder.json_file.unlink()
    with pytest.raises(InputError, match=f"annotation file '{folder.json_file}' does") as refusal:
        folder.load()
    assert refusal.value.hint == "datasets"


@pytest.mark.parametrize("kept", [1, 200])
def test_a_truncated_annotation_file_is_named(folder, kept):
    folder.json_file.write_text(folder.json_file.read_text()[:kept])
    text = (
        rf"^annotation file '{folder.json_file}' is truncated or not JSON \(.+\); copy it again\.$"
    )
    assert re.match(text, folder.refusal())


def test_an_annotation_file_of_other_bytes_is_named(folder):
    folder.json_file.write_bytes(b"\xff\xd8\xff\xe0")
    assert f"annotation file '{folder.json_file}' is not UTF-8 (byte 0xff at 0)" in folder.refusal()


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        "text",
        {},
        {"images": []},
        {"images": {}, "annotations": [], "categories": []},
        {"train": {"images": [], "annotations": [], "categories": []}},
    ],
)
def test_an_annotation_file_that_is_not_cocos_is_named(folder, content):
    folder.write(content)
    assert folder.refusal() == (
        f"annotation file '{folder.json_file}' is not in COCO's format: it needs the lists "
        "images, annotations, categories."
    )


@pytest.mark.parametrize("key", ["images", "categories"])
def test_an_annotation_file_without_entries_is_empty(folder, key):
    folder.change(**{key: []})
    assert f"'{folder.json_file}'" in folder.refusal() and f"{key} is empty" in folder.refusal()


def test_a_dataset_of_crowds_alone_is_refused_with_what_to_do(folder):
    folder.change(annotations=[annotation(1, 3, 2, iscrowd=1)])
    for filter_empty in (True, False):
        text = folder.refusal(filter_empty=filter_empty)
        assert str(folder.json_file) in text and "set iscrowd to 0" in text


def test_a_dataset_without_annotations_can_be_evaluated_but_not_trained_on(folder):
    folder.change(annotations=[])
    assert f"'{folder.json_file}'" in folder.refusal()
    assert len(folder.load(filter_empty=False)) == 3


@pytest.mark.parametrize(
    ("class_names", "expected"),
    [
        (["hen", "dog", "cat"], [[1, 2], [0]]),
        (["hen", "cow"], [[], [0]]),
        (["cat", "dog", "hen", "cow"], [[1, 0], [2]]),
    ],
)
def test_categories_are_matched_with_the_classes_of_a_model_by_name(folder, class_names, expected):
    records = folder.load(filter_empty=False, class_names=class_names, num_classes=len(class_names))
    indexes = [[a["category_id"] for a in record["annotations"]] for record in records[:2]]
    assert indexes == expected
    metadata = MetadataCatalog.get(folder.arguments["names"])
    assert metadata.thing_classes == class_names
    for key, index in metadata.thing_dataset_id_to_contiguous_id.items():
        assert CATEGORIES[key] == class_names[index]


def test_a_file_without_any_class_of_the_model_is_refused_with_both(folder):
    text = folder.refusal(class_names=["cow", "pig"])
    for name in ("cow", "pig", "cat", "dog", "hen"):
        assert name in text


@pytest.mark.parametrize(
    ("listed", "file"),
    [
        ("sub\\3.jpg", "sub/3.jpg"),
        ("a%20b.jpg", "a b.jpg"),
        ("Gr\u00f6\u00dfe.jpg", "Gro\u0308\u00dfe.jpg"),
        ("3.JPG", "3.jpg"),
    ],
)
def test_a_name_written_in_another_way_is_found(folder, listed, file, caplog):
    (folder.images / "sub").mkdir()
    (folder.images / "3.jpg").rename(folder.images / file)
    content = coco_content()
    content["images"][0]["file_name"] = listed
    folder.write(content)
    assert folder.load()[0]["file_name"] == str(folder.images / file)
    assert "1 of 2 images" in caplog.text


def test_a_name_that_two_files_have_in_another_way_is_missing(folder):
    (folder.images / "3.jpg").rename(folder.images / "a.Jpg")
    (folder.images / "a.jpG").write_bytes((folder.images / "5.jpg").read_bytes())
    content = coco_content()
    content["images"][0]["file_name"] = "a.jpg"
    folder.write(content)
    assert "1 of 2 listed images do not exist" in folder.refusal()


def test_a_name_in_another_way_is_missing_if_another_image_has_that_file(folder):
    content = coco_content()
    content["images"][0]["file_name"] = "./5.jpg"
    content["images"][1]["file_name"] = "5.JPG"
    folder.write(content)
    assert "1 of 2 listed images do not exist" in folder.refusal()


def test_an_absolute_name_is_taken_as_it_is_where_the_folder_is_a_link(folder, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    link = tmp_path / "a/b/link"
    link.symlink_to(folder.images)
    (folder.images / "3.jpg").rename(tmp_path / "a/3.jpg")
    content = coco_content()
    content["images"][0]["file_name"] = str(tmp_path / "a/3.jpg")
    folder.write(content)
    folder.arguments["image_root"] = str(link)
    assert [record["file_name"] for record in folder.load()] == [
        str(tmp_path / "a/3.jpg"),
        str(link / "5.jpg"),
    ]


def test_a_swapped_size_is_refused_before_the_run(folder):
    content = coco_content()
    for image in content["images"]:
        image["height"], image["width"] = image["width"], image["height"]
    folder.write(content)
    assert "width and height are swapped" in folder.refusal()


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"bbox": []}, "bbox is []"),
        ({"image_id": 4}, "image_id 4 is not among the images"),
        ({"category_id": 90}, "category_id 90 is not among the categories"),
        ({"category_id": None}, "category_id is None, not an integer or a text"),
    ],
)
def test_a_fault_of_an_annotation_is_refused_in_one_line_that_names_it(folder, changes, detail):
    content = coco_content()
    content["annotations"][1].update(changes)
    folder.write(content)
    text = folder.refusal()
    for fact in (str(folder.json_file), "annotation 2 of image", detail):
        assert fact in text
    assert "\n" not in text


def test_an_annotation_id_that_occurs_twice_is_a_label_like_any_other(folder):
    content = coco_content()
    content["annotations"][1]["id"] = 1
    folder.write(content)
    assert [len(record["annotations"]) for record in folder.load()] == [2, 1]


def test_categories_that_differ_from_the_registered_ones_are_named(folder):
    """As when a file of other classes is put in the place of COCO's."""
    folder.load()
    content = coco_content()
    content["categories"].append({"id": 11, "name": "cow"})
    folder.write(content)
    assert "category ids [11] are not among those of the registered dataset;" in folder.refusal()


@pytest.mark.parametrize("class_names", [["hen", "cow"], ["hen", "dog", "cat"]])
def test_a_dataset_matched_with_a_models_classes_is_loaded_by_its_own_again(folder, class_names):
    before = folder.load()
    folder.load(class_names=class_names)
    assert folder.load() == before
    assert MetadataCatalog.get(folder.arguments["names"]).thing_classes == ["cat", "dog", "hen"]


def test_a_dataset_first_matched_with_a_models_classes_keeps_its_own_category_ids(folder):
    folder.load(class_names=["hen"])
    assert len(folder.load(num_classes=3)) == 2
    content = coco_content()
    content["categories"].append({"id": 11, "name": "cow"})
    folder.write(content)
    folder.load(class_names=["hen"])
    assert "category ids [11] are not among those of the registered dataset;" in folder.refusal()


def test_another_number_of_classes_than_the_models_is_named_with_both(folder):
    name = folder.arguments["names"]
    with pytest.raises(InputError, match=f"'{name}' has 3 classes .* num_classes=80") as refusal:
        folder.load(num_classes=80)
    assert refusal.value.parameter == "num_classes"


def test_listed_images_that_are_missing_are_counted_and_named(folder):
    (folder.images / "5.jpg").unlink()
    name = folder.arguments["names"]
    assert folder.refusal() == (
        f"dataset '{name}': 1 of 2 listed images do not exist ({folder.images / '5.jpg'}). "
        "Restore them or remove them from the annotation file."
    )


def test_of_many_missing_images_some_are_named(folder):
    images = [{**coco_content()["images"][0], "id": n, "file_name": f"{n}.png"} for n in range(5)]
    folder.change(images=images, annotations=[])
    text = folder.refusal(filter_empty=False)
    assert ": 5 of 5 listed images do not exist (" in text
    assert "/2.png and 2 more)" in text and "3.png" not in text


def test_missing_images_outside_a_subset_do_not_matter(folder):
    (folder.images / "5.jpg").unlink()
    assert len(folder.load(image_ids=[3])) == 1


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    text = r"^dataset 'coco_2017_vall' is not registered; the nearest names are coco_2017_val, .*"
    with pytest.raises(InputError, match=text + r"json_file and image_root"):
        load_dataset("coco_2017_vall")


def test_a_name_that_is_taken_is_refused(folder):
    folder.load()
    folder.arguments["json_file"] += ".copy"
    name = folder.arguments["names"]
    text = f"dataset name '{name}' is taken by another; choose a new one."
    assert folder.refusal() == text
    folder.arguments["json_file"] = str(folder.json_file)
    folder.arguments["image_root"] += "_2"
    assert folder.refusal() == text


def test_an_annotation_file_without_image_folder_is_refused(folder):
    folder.arguments["image_root"] = None
    name = folder.arguments["names"]
    assert folder.refusal() == f"dataset '{name}' has a json_file but no image_root; give both."


def test_a_registered_name_of_another_format_is_refused():
    text = r"^dataset 'voc_2007_train' has no COCO-format annotation file; choose another\.$"
    with pytest.raises(InputError, match=text):
        load_dataset("voc_2007_train")
