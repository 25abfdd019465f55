"""Custom data by data.train and data.val: what is refused, in one line."""

import pytest
from omegaconf import OmegaConf

from bpt_det.detection import use_detection_data
from bpt_det.utils.errors import InputError
from tests.support.coco_datasets import entry, new_config, write_data


@pytest.fixture
def train(tmp_path):
    return write_data(tmp_path, "train")


@pytest.fixture
def val(tmp_path):
    return write_data(tmp_path, "val")


def refusal(cfg, overrides=()):
    with pytest.raises(InputError) as caught:
        use_detection_data(cfg, overrides)
    return str(caught.value)


def test_training_data_alone_are_refused(train):
    assert refusal(new_config(train=train)) == (
        "data.train is given but data.val is not; add data.val=FILE:FOLDER, the same as "
        "data.train to evaluate on the training images."
    )


@pytest.mark.parametrize("value", ["train.json", "train.json:", ":images", " : ", 5, "[1, 2]"])
def test_a_value_of_another_form_is_refused(value, val):
    assert refusal(new_config(train=value, val=val)) == (
        f"'data.train={value}' is not of the form FILE:FOLDER; give the annotation file and the "
        "folder of its images, as in data.train=/data/mine/train.json:/data/mine/images."
    )


def test_a_missing_file_or_folder_is_named(train, val, tmp_path):
    file, _, folder = train.partition(":")
    assert refusal(new_config(train=f"{file}x:{folder}", val=val)) == (
        f"data.train: annotation file '{file}x' does not exist; correct the path."
    )
    assert refusal(new_config(train=train, val=f"{file}:{folder}x")) == (
        f"data.val: image folder '{folder}x' does not exist; correct the path."
    )


def test_a_file_that_is_not_json_is_named(train, val, tmp_path):
    (tmp_path / "val.json").write_text("{")
    text = refusal(new_config(train=train, val=val))
    assert text.startswith(f"annotation file '{tmp_path}/val.json' is truncated or not JSON (")


@pytest.mark.parametrize(
    ("classes", "difference"),
    [
        ({2: "cat", 7: "dog"}, "only in data.train: hen"),
        ({2: "cat", 7: "cow", 9: "hen"}, "only in data.train: dog; only in data.val: cow"),
        ({2: "dog", 7: "cat", 9: "hen"}, "the same names in another order of their ids"),
    ],
)
def test_categories_that_differ_are_named(tmp_path, train, classes, difference):
    val = write_data(tmp_path, "val", classes=classes)
    assert refusal(new_config(train=train, val=val)) == (
        f"data.train and data.val have different categories ({difference}); give both files the "
        "same list."
    )


def test_a_number_of_classes_that_was_chosen_must_agree(train, val):
    cfg = new_config(train=train, val=val)
    cfg.model.roi_heads.num_classes = 7
    text = (
        "model.roi_heads.num_classes=7 contradicts the 3 classes of the data (cat, dog, hen); "
        "leave model.roi_heads.num_classes out."
    )
    assert refusal(cfg, ["train.seed=3", "model.roi_heads.num_classes=7"]) == text
    cfg.model.roi_heads.num_classes = 3
    use_detection_data(cfg, ["model.roi_heads.num_classes=3"])


@pytest.mark.parametrize("key", ["names", "json_file", "image_root"])
def test_the_two_ways_of_naming_a_dataset_exclude_each_other(train, val, key):
    key = f"dataloader.test.dataset.{key}"
    assert refusal(new_config(train=train, val=val), [f"+{key}=mine"]) == (
        f"data.val and {key} are both given; leave one of them out."
    )


def test_objects_without_a_mask_among_others_are_counted_and_named(tmp_path, val):
    annotations = [entry(1), *(entry(n, None) for n in (4, 5, 6, 8))]
    train = write_data(tmp_path, "train", [*annotations, entry(9, None, iscrowd=1)])
    assert refusal(new_config(train=train, val=val)) == (
        f"data.train: 4 of the 5 objects in '{tmp_path}/train.json' have no segmentation (ids 4, "
        "5, 6 and 1 more); complete or remove them, or remove all segmentations to train on boxes "
        "alone."
    )


def test_a_file_without_categories_is_refused(tmp_path, val):
    train = write_data(tmp_path, "train", classes={})
    assert refusal(new_config(train=train, val=val)) == (
        f"data.train: annotation file '{tmp_path}/train.json' lists no categories."
    )


@pytest.mark.parametrize("annotations", [[3], ["text"], [None]])
def test_malformed_entries_are_passed_on_to_the_check(tmp_path, val, annotations):
    train = write_data(tmp_path, "train", annotations)
    with pytest.raises(InputError, match=r"train\.json' has malformed entries \(Attr") as caught:
        use_detection_data(new_config(train=train, val=val))
    assert caught.value.hint == "check_dataset"


@pytest.mark.parametrize(
    ("data", "name"), [({"name": "cub"}, "cub"), ("folder:/birds", "folder:/birds")]
)
def test_a_classification_config_is_sent_to_the_command_for_it(data, name):
    with pytest.raises(InputError, match=f"data.name={name} is a classification") as caught:
        use_detection_data(OmegaConf.create({"data": data}))
    assert caught.value.hint == "train_classifier"
