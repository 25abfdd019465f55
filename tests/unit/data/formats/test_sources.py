"""Sources: which format a path is of, its splits, what is held out, archives, exports."""

import json

import pytest
from PIL import Image

from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.coco_files import find_image_files
from bpt_det.data.formats import (
    choose_parts,
    open_dataset,
    parse_source,
    read_annotations,
    source_exists,
)
from bpt_det.utils.errors import InputError
from tests.support.coco_datasets import write_data
from tests.support.label_files import (
    BOXES,
    IMAGES,
    pack,
    write_image,
    write_labelme,
    write_voc,
    write_yolo,
)

WRITERS = {"YOLO": write_yolo, "Pascal VOC": write_voc, "labelme": write_labelme}


def refusal(source):
    with pytest.raises(InputError) as caught:
        read_annotations(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("prefix", [None, "", "my export/"])
def test_a_folder_and_an_archive_of_each_format_hold_the_same(tmp_path, name, prefix):
    folder = tmp_path / "data"
    WRITERS[name](folder, BOXES)
    expected = read_annotations(str(folder))
    source = folder if prefix is None else pack(folder, tmp_path / "data.zip", prefix)
    dataset = open_dataset(str(source))
    assert dataset.name == name
    content = read_annotations(str(source))
    for key in ("annotations", "categories"):
        assert content[key] == expected[key]
    read_coco(str(source))  # the checks find nothing that stops a run
    names = {image["id"]: image["file_name"] for image in content["images"]}
    paths, missing = find_image_files(names, dataset.image_root)
    assert len(paths) == 2 and not missing


def test_an_archive_of_a_coco_dataset_is_read(tmp_path):
    write_data(tmp_path / "data")
    (tmp_path / "data/train_images").rename(tmp_path / "data/images")
    source = pack(tmp_path / "data", tmp_path / "data.zip")
    content = read_annotations(f"{source}#train")
    assert [image["file_name"] for image in content["images"]] == ["images/a.jpg"]
    assert read_annotations(f"{source}/train.json")["images"][0]["file_name"] == "a.jpg"


def test_two_versions_in_one_archive_are_refused_and_one_can_be_named(tmp_path):
    for version in ("v1", "v2"):
        write_yolo(tmp_path / "data" / version)
    source = pack(tmp_path / "data", tmp_path / "data.zip")
    text = refusal(source)
    assert text.startswith(f"'{source}' holds 2 datasets or versions of one: v1/data.yaml (yolo)")
    assert len(read_annotations(f"{source}/v2")["images"]) == 2
    assert len(read_annotations(f"{source}/v2/data.yaml")["images"]) == 2


def test_two_formats_of_one_dataset_are_refused(tmp_path):
    write_yolo(tmp_path)
    write_labelme(tmp_path / "images/train")
    assert "holds 2 datasets" in refusal(tmp_path)


def test_a_folder_without_annotations_is_refused_with_the_formats(tmp_path):
    write_image(tmp_path / "a.png", (4, 4))
    text = refusal(tmp_path)
    assert "holds no annotations in a known format: a YOLO data.yaml, a Pascal VOC folder" in text


def test_cvats_own_xml_is_no_voc(tmp_path):
    (tmp_path / "annotations.xml").write_text(
        "<annotations><image id='0' name='a.jpg'/></annotations>"
    )
    assert "holds no annotations in a known format" in refusal(tmp_path)


def test_the_file_of_one_image_is_no_dataset(tmp_path):
    write_labelme(tmp_path)
    assert "is of one image; give the folder" in refusal(tmp_path / "a.json")
    write_voc(tmp_path / "voc")
    assert "is of one image; give the folder" in refusal(tmp_path / "voc/Annotations/a.xml")


def test_a_part_follows_the_path_unless_a_file_is_called_so(tmp_path):
    source = parse_source(f"{tmp_path}/data.yaml#train,20%")
    assert (source.path, source.split, source.share) == (f"{tmp_path}/data.yaml", "train", "20%")
    assert str(source) == f"{tmp_path}/data.yaml#train,20%"
    for text in ("a.json#80%", "a.json#val", "a.json"):
        assert str(parse_source(f"/x/{text}")) == f"/x/{text}"
    (tmp_path / "a#train").mkdir()
    assert parse_source(f"{tmp_path}/a#train").split is None
    assert parse_source("/x/a.json#").path == "/x/a.json#"
    assert str(parse_source("/x/data.yaml#valid")) == "/x/data.yaml#val"  # Roboflow's folder


@pytest.fixture
def many(tmp_path):
    """A YOLO dataset of 60 images, all for training."""
    return write_yolo(tmp_path, {f"{i:03}": IMAGES["a"] for i in range(60)})


def names_of(source):
    return {image["file_name"] for image in read_annotations(str(source))["images"]}


def test_a_fifth_is_held_out_where_there_is_nothing_to_validate_on(many):
    parts = choose_parts(str(many), None)
    assert [str(part) for part in parts.values()] == [f"{many}#train,80%", f"{many}#train,20%"]
    train, val = names_of(parts["train"]), names_of(parts["val"])
    assert not train & val and len(train | val) == 60 and 5 <= len(val) <= 20
    annotations = read_annotations(str(parts["val"]))["annotations"]
    assert len(annotations) == len(val)


@pytest.mark.parametrize(("side", "other"), [("80%", "20%"), ("20%", "80%")])
def test_the_other_side_of_a_part_that_is_trained_on_is_validated_on(many, side, other):
    parts = choose_parts(f"{many}#{side}", None)
    assert [str(parts[key]) for key in ("train", "val")] == [
        f"{many}#train,{side}",
        f"{many}#train,{other}",
    ]


def test_more_images_move_none_to_the_other_side(many, tmp_path):
    before = {side: names_of(f"{many}#{side}") for side in ("80%", "20%")}
    write_yolo(tmp_path, {f"{i:03}": IMAGES["a"] for i in range(60, 90)})
    for side, names in before.items():
        assert names < names_of(f"{many}#{side}")


def test_copies_that_roboflow_has_augmented_are_on_one_side(tmp_path):
    images = {f"{i}_jpg.rf.{i}{copy}abc": IMAGES["a"] for i in range(20) for copy in range(3)}
    file = write_yolo(tmp_path, images)
    originals = [{n.partition("_")[0] for n in names_of(f"{file}#{s}")} for s in ("80%", "20%")]
    assert not originals[0] & originals[1] and all(originals)


def test_two_images_are_one_to_train_and_one_to_validate_on(tmp_path):
    file = write_yolo(tmp_path)
    assert [len(names_of(f"{file}#{side}")) for side in ("80%", "20%")] == [1, 1]


def test_own_splits_are_taken(tmp_path):
    file = write_yolo(tmp_path)
    write_yolo(tmp_path, {"c": IMAGES["a"]}, split="val")
    for train, val in ((file, None), (file, file), (f"{file}#train", None)):
        parts = choose_parts(str(train), val and str(val))
        assert {str(part) for part in parts.values()} == {f"{file}#train", f"{file}#val"}
    assert str(choose_parts(None, str(file))["val"]) == f"{file}#val"
    assert len(read_annotations(str(file))["images"]) == 3


def test_a_split_that_is_not_there_is_refused(tmp_path):
    file = write_yolo(tmp_path)
    assert "has no split 'val'; its splits are: train" in refusal(f"{file}#val")
    with pytest.raises(
        InputError, match="has the splits train but not val; name one, as in .*#train"
    ):
        choose_parts(None, str(file))
    assert str(choose_parts(None, f"{file}#train")["val"]) == f"{file}#train"


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_change_of_a_label_is_seen(tmp_path, is_elsewhere):
    file = write_yolo(tmp_path, path=str(tmp_path))
    if is_elsewhere:
        (tmp_path / "settings").mkdir()
        file = file.rename(tmp_path / "settings/data.yaml")
    assert len(read_coco(str(file)).objects) == 3
    (tmp_path / "labels/train/b.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    assert len(read_coco(str(file)).objects) == 2


def coco_content(names, categories, **fields):
    """A COCO file of images of 20 x 12 pixels, with a box in each."""
    images = [
        {"id": i, "file_name": name, "width": 20, "height": 12} for i, name in enumerate(names)
    ]
    annotations = [
        {"id": i, "image_id": i, "category_id": categories[-1]["id"], "bbox": [1, 1, 5, 5]}
        for i in range(len(names))
    ]
    return json.dumps(
        {"images": images, "annotations": annotations, "categories": categories, **fields}
    )


def test_roboflow(tmp_path):
    """Splits are folders, images lie beside the file, category 0 is the group of the others."""
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
    ]
    for split in ("train", "valid", "test"):
        write_image(tmp_path / split / "a_jpg.rf.1.png", (12, 20))
        file = tmp_path / split / "_annotations.coco.json"
        file.write_text(coco_content(["a_jpg.rf.1.png"], categories))
    for source in (tmp_path, pack(tmp_path, tmp_path.with_suffix(".zip"))):
        assert set(open_dataset(str(source)).splits) == {"train", "val", "test"}
        content = read_annotations(f"{source}#val")
        assert content["categories"] == categories[1:]
        assert content["images"][0]["file_name"] == "valid/a_jpg.rf.1.png"


def test_annotation_files_are_found_beside_a_folder_of_many_other_files(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path / split / "a.png", (12, 20))
        file = tmp_path / f"annotations/instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(coco_content(["a.png"], [{"id": 1, "name": "cat"}]))
    (tmp_path / "cameras").mkdir()
    for number in range(200):
        (tmp_path / f"cameras/{number}.json").write_text("{}")
    assert open_dataset(str(tmp_path)).splits == ("train", "val")


def test_cvat(tmp_path):
    """A file in annotations/, images in images/, maybe in a folder of the subset's name."""
    (tmp_path / "annotations").mkdir()
    for name in ("images/a.png", "images/default/sub/b.png"):
        write_image(tmp_path / name, (12, 20))
    file = tmp_path / "annotations/instances_default.json"
    file.write_text(coco_content(["a.png", "sub/b.png"], [{"id": 1, "name": "cat"}]))
    assert open_dataset(str(tmp_path)).splits == ()
    assert names_of(tmp_path) == {"images/a.png", "images/default/sub/b.png"}
    assert open_dataset(str(file)).image_root == f"{tmp_path}/images"


@pytest.mark.parametrize("attributes", [{"occluded": False}, {}])
def test_masks_of_cvat_are_single_objects(tmp_path, attributes, caplog):
    """Its exporter marks each as a crowd region; of another tool's file that is what it says."""
    write_image(tmp_path / "images/a.png", (12, 20))
    content = json.loads(coco_content(["a.png"], [{"id": 1, "name": "cat"}]))
    code = {"size": [12, 20], "counts": [30, 6, 204]}
    shared = {"image_id": 0, "category_id": 1, "attributes": attributes}
    content["annotations"] = [
        {**shared, "id": 1, "iscrowd": 1, "segmentation": code, "bbox": [2, 6, 1, 6]},
        {
            **shared,
            "id": 2,
            "iscrowd": 0,
            "segmentation": [[1, 1, 5, 1, 5, 5]],
            "bbox": [1, 1, 4, 4],
        },
    ]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    dataset = read_coco(str(tmp_path / "instances.json"))
    assert len(dataset.objects) == (2 if attributes else 1)
    assert ("CVAT marks every mask" in caplog.text) == bool(attributes)


@pytest.mark.parametrize(
    "name", ["images/a.png", "images\\a.png", "../../label-studio/media/upload/1/a.png"]
)
def test_label_studio(tmp_path, name):
    """It numbers from 0 and may name images by where they lay on its server."""
    write_image(tmp_path / "images/a.png", (12, 20))
    (tmp_path / "result.json").write_text(coco_content([name], [{"id": 0, "name": "cat"}]))
    assert names_of(tmp_path) == {"images/a.png"}
    assert len(read_coco(str(tmp_path)).objects) == 1


def test_the_images_of_a_file_alone_are_looked_for_near_it(tmp_path):
    file, _, folder = write_data(tmp_path / "data").partition(":")
    with pytest.raises(
        InputError, match="the images of .*train.json' are not found: 'a.jpg' is not"
    ):
        open_dataset(file).image_root  # noqa: B018
    (tmp_path / "data/train_images").rename(tmp_path / "data/images")
    assert open_dataset(file).image_root == f"{tmp_path}/data/images"
    assert source_exists(file) and not source_exists(f"{file}x")
    assert Image.open(f"{tmp_path}/data/images/a.jpg").size == (14, 12)
