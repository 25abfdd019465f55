"""Class names in checkpoints, and settings that no weight shows."""

import json

import pytest
import torch
from torch import nn

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer, train
from bpt_det.engine.checkpoint import read_checkpoint, stored_classes
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink, use_shapes

NAMES = ["cat", "dog", "cow"]


def saved(tmp_path, names):
    FrozenAwareCheckpointer(nn.Linear(2, 3), str(tmp_path), class_names=names).save("model")
    return str(tmp_path / "model.pth")


@pytest.mark.parametrize("names", [NAMES, None])
def test_names_are_read_back_as_they_were(tmp_path, names):
    assert stored_classes(read_checkpoint(saved(tmp_path, names)))[0] == names


def test_a_file_from_before_there_were_names_has_none_and_loads(tmp_path, caplog):
    path = saved(tmp_path, NAMES)
    content = torch.load(path, weights_only=True)
    del content["class_names"]
    torch.save(content, path)
    assert stored_classes(read_checkpoint(path)) == (None, None)
    FrozenAwareCheckpointer(nn.Linear(2, 3), class_names=NAMES).load(path)
    assert "class names" not in caplog.text


@pytest.mark.parametrize("ids", [{1: 2}, [1, 2.5], "12"])
def test_ids_that_can_be_none_are_refused(tmp_path, ids):
    path = saved(tmp_path, NAMES)
    torch.save({**torch.load(path, weights_only=True), "category_ids": ids}, path)
    with pytest.raises(InputError, match="its category_ids are something else"):
        stored_classes(read_checkpoint(path))


def test_names_of_a_file_that_is_no_checkpoint_are_refused(tmp_path):
    torch.save({"a": 1}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other.pth' is not a checkpoint of this project\."):
        stored_classes(read_checkpoint(str(tmp_path / "other.pth")))


def test_other_names_are_reported_with_the_first_that_differs(tmp_path, caplog):
    names = ["cat", "fox", "bee"]
    FrozenAwareCheckpointer(nn.Linear(2, 3), class_names=names).load(saved(tmp_path, NAMES))
    assert (
        "model.pth' was trained with other class names: 'dog' there is 'fox' here (2 of 3 differ)"
        in caplog.text
    )


@pytest.mark.parametrize("names", [NAMES, None])
def test_the_same_names_or_none_are_no_reason_to_warn(tmp_path, names, caplog):
    FrozenAwareCheckpointer(nn.Linear(2, 3), class_names=names).load(saved(tmp_path, NAMES))
    assert "class names" not in caplog.text


def test_a_training_takes_the_names_of_its_data(
    shapes_root, tmp_path, repository_root, monkeypatch
):
    monkeypatch.chdir(repository_root)
    monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", lambda *_: {})
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.update(max_iter=1, output_dir=str(tmp_path))
    train(cfg)
    annotations = json.loads((shapes_root / "annotations/instances_train.json").read_text())
    names = [category["name"] for category in annotations["categories"]]
    ids = [category["id"] for category in annotations["categories"]]
    assert stored_classes(read_checkpoint(str(tmp_path / "model_final.pth"))) == (names, ids)


def test_other_names_are_refused_where_a_run_is_resumed(tmp_path):
    path = saved(tmp_path, NAMES)
    checkpointer = FrozenAwareCheckpointer(nn.Linear(2, 3), class_names=["cat", "fox", "cow"])
    with pytest.raises(
        InputError,
        match=r"model.pth' was trained with other class names: 'dog' there is 'fox' here \(1 of 3 "
        r"differ\); resume with the data of that run's config.yaml, or give a new train.output_dir",
    ):
        checkpointer.resume(path)


class Pooled(nn.Linear):
    checkpoint_settings = {"model.pooling": "all"}


def test_a_setting_that_no_weight_shows_is_compared(tmp_path):
    FrozenAwareCheckpointer(Pooled(2, 3), str(tmp_path)).save("model")
    path = str(tmp_path / "model.pth")
    FrozenAwareCheckpointer(Pooled(2, 3)).load(path)
    FrozenAwareCheckpointer(nn.Linear(2, 3)).load(path)
    other = Pooled(2, 3)
    other.checkpoint_settings = {"model.pooling": "cls"}
    with pytest.raises(
        InputError,
        match="was trained with model.pooling=all, which is cls here; set model.pooling=all",
    ):
        FrozenAwareCheckpointer(other).load(path)
