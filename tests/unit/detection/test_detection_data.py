"""Custom data by data.train and data.val: what a config becomes, and what is refused."""

import json

import pytest
import torch
from detectron2.config import LazyConfig
from detectron2.data import DatasetCatalog, MetadataCatalog
from omegaconf import OmegaConf

from bpt_det.data.coco import split_source
from bpt_det.detection import load_dataset, use_detection_data
from bpt_det.utils.errors import InputError
from tests.support.coco_datasets import RLE, entry, new_config, write_data


@pytest.fixture(autouse=True)
def _unregister():
    registered = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def train(tmp_path):
    return write_data(tmp_path, "train")


@pytest.fixture
def val(tmp_path):
    return write_data(tmp_path, "val")


def test_names_files_folders_and_classes_come_from_the_data(train, val):
    cfg = new_config(train=train, val=val)
    use_detection_data(cfg)
    for loader, source in ((cfg.dataloader.train, train), (cfg.dataloader.test, val)):
        assert f"{loader.dataset.json_file}:{loader.dataset.image_root}" == source
        records = load_dataset(**loader.dataset, num_classes=3)
        assert [record["image_id"] for record in records] == [3]
        assert MetadataCatalog.get(loader.dataset.names).thing_classes == ["cat", "dog", "hen"]
    assert cfg.model.roi_heads.num_classes == 3
    assert cfg.dataloader.evaluator.dataset_name == cfg.dataloader.test.dataset.names
    assert "image_ids" not in cfg.dataloader.train.dataset  # those were of COCO


@pytest.mark.parametrize("data", [None, {"train": None, "val": None}, {}])
def test_a_config_stays_as_it_is_where_no_data_are_given(data):
    cfg = new_config()
    cfg.data = data
    before = OmegaConf.to_yaml(cfg)
    use_detection_data(cfg)
    assert OmegaConf.to_yaml(cfg) == before
    del cfg.data
    use_detection_data(cfg)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ([entry(1), entry(2, RLE)], "bitmask"),
        ([entry(1), entry(2, RLE, iscrowd=1)], "polygon"),  # a crowd is no object to learn
        ([entry(1)], "polygon"),
    ],
)
def test_the_mask_format_follows_the_training_objects(tmp_path, val, annotations, expected):
    cfg = new_config(train=write_data(tmp_path, "train", annotations), val=val)
    use_detection_data(cfg)
    assert cfg.dataloader.train.mapper.instance_mask_format == expected


def test_a_saved_config_is_used_as_it_is_even_where_the_files_are_gone(train, val, tmp_path):
    cfg = new_config(train=train, val=val)
    use_detection_data(cfg)
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    for name in ("train", "val"):
        (tmp_path / f"{name}.json").unlink()
    again = LazyConfig.load(str(tmp_path / "config.yaml"))
    use_detection_data(again)
    assert again == cfg


def test_a_saved_config_takes_other_validation_data_where_the_training_data_are_gone(
    train, val, tmp_path
):
    cfg = new_config(train=train, val=val)
    use_detection_data(cfg)
    (tmp_path / "train.json").unlink()
    cfg.data.val = write_data(tmp_path, "other")
    use_detection_data(cfg)
    assert cfg.dataloader.test.dataset.names == cfg.data.val
    assert cfg.dataloader.train.dataset.names == train


def test_image_ids_that_were_chosen_stay(train, val):
    cfg = new_config(train=train, val=val)
    use_detection_data(cfg, ["dataloader.train.dataset.image_ids=[5,6]"])
    assert cfg.dataloader.train.dataset.image_ids == [5, 6]
    use_detection_data(cfg)
    assert cfg.dataloader.train.dataset.image_ids == [5, 6]


def test_relative_paths_are_made_absolute(train, val, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = new_config(train="train.json:train_images", val="./val.json:val_images")
    use_detection_data(cfg)
    assert cfg.data == {"train": train, "val": val}
    assert cfg.dataloader.test.dataset.json_file == str(tmp_path / "val.json")


def test_a_path_with_a_colon_is_split_where_both_parts_exist(tmp_path):
    source = write_data(tmp_path / "10:30", "train")
    assert split_source(source, "data.train=") == (
        str(tmp_path / "10:30/train.json"),
        str(tmp_path / "10:30/train_images"),
    )


def test_two_datasets_of_the_same_file_names_do_not_collide(tmp_path):
    for folder, classes in (("a", {1: "cat"}), ("b", {1: "dog", 2: "hen"})):
        source = write_data(
            tmp_path / folder, annotations=[entry(1, category_id=1)], classes=classes
        )
        cfg = new_config(train=source, val=source)
        use_detection_data(cfg)
        load_dataset(**cfg.dataloader.test.dataset, num_classes=len(classes))
        name = cfg.dataloader.test.dataset.names
        assert MetadataCatalog.get(name).thing_classes == list(classes.values())


def test_validation_data_alone_will_do_to_evaluate_but_not_to_train(val):
    cfg = new_config(val=val)
    use_detection_data(cfg)
    assert len(load_dataset(**cfg.dataloader.test.dataset, num_classes=3)) == 1
    with pytest.raises(InputError, match="none to train on") as caught:
        load_dataset(**cfg.dataloader.train.dataset)
    assert caught.value.hint == "training_data"


def test_data_without_any_mask_leave_the_mask_head_out(tmp_path, val, caplog):
    train = write_data(tmp_path, "train", [entry(1, None), entry(2, [])])
    cfg = new_config(train=train, val=val)
    use_detection_data(cfg)
    heads, mapper = cfg.model.roi_heads, cfg.dataloader.train.mapper
    assert heads.mask_head is heads.mask_pooler is heads.mask_in_features is None
    assert not mapper.use_instance_mask and not mapper.recompute_boxes
    assert cfg.dataloader.evaluator.tasks == ["bbox"]
    assert caplog.messages == [
        "data.train has no segmentations: boxes alone are trained and evaluated."
    ]


def test_validation_data_without_masks_are_evaluated_by_boxes(tmp_path, train, caplog):
    cfg = new_config(train=train, val=write_data(tmp_path, "val", [entry(1, None)]))
    use_detection_data(cfg)
    assert cfg.model.roi_heads.mask_head == {"a": 1}
    assert cfg.dataloader.evaluator.tasks == ["bbox"]
    assert caplog.messages == ["data.val has no segmentations: boxes alone are evaluated."]


def test_the_same_categories_under_other_ids_are_the_same(tmp_path, train):
    val = write_data(tmp_path, "val", [entry(1, category_id=5)], {4: "cat", 5: "dog", 6: "hen"})
    cfg = new_config(train=train, val=val)
    use_detection_data(cfg)
    assert cfg.model.roi_heads.num_classes == 3


def test_training_data_named_the_older_way_go_with_own_validation_data(val):
    cfg = new_config(val=val)
    use_detection_data(cfg, ["dataloader.train.dataset.names=coco_2017_train"])
    assert cfg.dataloader.train.dataset.names == "coco_2017_train"


def refusal(cfg, overrides=()):
    with pytest.raises(InputError) as caught:
        use_detection_data(cfg, overrides)
    return str(caught.value)


def test_training_data_of_one_image_alone_are_refused(train):
    file = train.partition(":")[0]
    assert refusal(new_config(train=train)) == (
        f"'{file}' has too few images (1) to hold some out for validation; name data to evaluate "
        "on."
    )


@pytest.mark.parametrize("value", ["train.json:", ":images", " : "])
def test_a_value_of_another_form_is_refused(value, val):
    assert refusal(new_config(train=value, val=val)) == (
        f"'data.train={value}' is not of the form FILE:FOLDER; give the annotation file and the "
        "folder of its images, as in data.train=/data/mine/train.json:/data/mine/images."
    )


@pytest.mark.parametrize("value", ["train.json", 5, "[1, 2]"])
def test_a_path_that_does_not_exist_is_refused(value, val):
    assert refusal(new_config(train=value, val=val)) == (
        f"'data.train={value}' is neither a path that exists nor of the form FILE:FOLDER; give a "
        "dataset, or the annotation file and the folder of its images, as in "
        "data.train=/data/mine/train.json:/data/mine/images."
    )


def test_a_missing_file_or_folder_is_named(train, val, tmp_path):
    file, _, folder = train.partition(":")
    assert refusal(new_config(train=f"{file}x:{folder}", val=val)) == (
        f"data.train: annotation file '{file}x' does not exist; correct the path."
    )
    assert refusal(new_config(train=train, val=f"{file}:{folder}x")) == (
        f"data.val: image folder '{folder}x' does not exist; correct the path."
    )


def test_epochs_become_iterations_and_the_learning_rate_is_scaled(tmp_path, val):
    """Of images with objects; what a user has set stays, and a saved config is converted anew."""
    data = write_data(tmp_path, "train")
    file = tmp_path / "train.json"
    content = json.loads(file.read_text())
    first = content["images"][0]
    content["images"] = [{**first, "id": i, "file_name": f"{i}.jpg"} for i in range(30)]
    content["annotations"] = [entry(i, image_id=i) for i in range(24)]
    file.write_text(json.dumps(content))

    def fitted(cfg, *overrides):
        merged = OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(overrides)))
        use_detection_data(merged, overrides)
        return merged

    cfg = new_config(train=data, val=val, reference_batch_size=16)
    cfg.dataloader.train.total_batch_size = 4
    cfg.train = {"epochs": 10, "eval_epochs": None, "max_iter": 1, "eval_period": 1}
    cfg.train.update(checkpointer={"period": 1}, reference_batch_size=None)
    cfg.lr_multiplier = {"warmup_iters": 250}
    first = fitted(cfg)
    assert (first.train.max_iter, first.train.eval_period) == (60, 6)
    assert (first.train.checkpointer.period, first.lr_multiplier.warmup_iters) == (6, 6)
    assert first.train.reference_batch_size == 16
    assert fitted(first, "train.epochs=20").train.max_iter == 120
    assert fitted(cfg, "optimizer.lr=0.1").train.reference_batch_size is None
    assert fitted(cfg, "train.eval_period=7").train.eval_period == 7
    file.unlink()
    assert fitted(first, "train.epochs=20").train.max_iter == 60  # for pictures, elsewhere


def test_a_file_that_is_not_json_is_named(train, val, tmp_path):
    (tmp_path / "val.json").write_text("{")
    text = refusal(new_config(train=train, val=val))
    assert text.startswith(f"annotation file '{tmp_path}/val.json' is truncated or not JSON (")


@pytest.mark.parametrize(
    "classes", [{2: "cat", 7: "dog"}, {2: "dog", 7: "cat", 9: "hen"}, {7: "hen"}]
)
def test_categories_to_evaluate_on_are_matched_by_name(tmp_path, train, classes):
    cfg = new_config(train=train, val=write_data(tmp_path, "val", classes=classes))
    use_detection_data(cfg)
    assert cfg.dataloader.test.dataset.class_names == ["cat", "dog", "hen"]
    (record,) = load_dataset(**cfg.dataloader.test.dataset, num_classes=3)
    expected = ["cat", "dog", "hen"].index(classes[7])  # the class of the only object
    assert [a["category_id"] for a in record["annotations"]] == [expected]


def test_a_category_that_cannot_be_learned_is_refused(tmp_path, train):
    val = write_data(tmp_path, "val", classes={2: "cat", 7: "cow", 9: "hen"})
    text = refusal(new_config(train=train, val=val))
    assert "(cow;" in text and "cat, dog, hen" in text


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_other_data_are_evaluated_with_the_classes_of_the_run(tmp_path, train, val, has_checkpoint):
    """Those of its checkpoint, or else of its config."""
    cfg = new_config(train=train, val=val)
    use_detection_data(cfg)
    cfg.data = {"train": None, "val": write_data(tmp_path, "other", classes={1: "hen", 7: "cat"})}
    names = ["cat", "dog", "hen"]
    if has_checkpoint:
        names = ["hen", "cow", "cat"]
        torch.save({"model": {}, "class_names": names}, tmp_path / "model.pth")
        cfg.train = {"init_checkpoint": str(tmp_path / "model.pth")}
    use_detection_data(cfg)
    assert cfg.dataloader.test.dataset.class_names == names
    assert cfg.model.roi_heads.num_classes == 3


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
    text = refusal(new_config(train=train, val=val))
    assert f"'{tmp_path}/train.json': 4 annotations without a segmentation" in text
    assert "annotation 4 of image 3" in text


def test_a_file_without_categories_is_refused(tmp_path, val):
    train = write_data(tmp_path, "train", classes={})
    text = refusal(new_config(train=train, val=val))
    assert f"'{tmp_path}/train.json'" in text and "categories is empty" in text


@pytest.mark.parametrize("annotations", [[3], ["text"], [None]])
def test_malformed_entries_are_passed_on_to_the_check(tmp_path, val, annotations):
    train = write_data(tmp_path, "train", annotations)
    with pytest.raises(InputError, match=r"train\.json': 1 values of a wrong type") as caught:
        use_detection_data(new_config(train=train, val=val))
    assert caught.value.hint == "check_dataset"


@pytest.mark.parametrize(
    ("data", "name"), [({"name": "cub"}, "cub"), ("folder:/birds", "folder:/birds")]
)
def test_a_classification_config_is_sent_to_the_command_for_it(data, name):
    with pytest.raises(InputError, match=f"data.name={name} is a classification") as caught:
        use_detection_data(OmegaConf.create({"data": data}))
    assert caught.value.hint == "train_classifier"
