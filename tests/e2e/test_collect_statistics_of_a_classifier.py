"""Collecting token statistics for a classification config, shrunk, on a miniature CUB-200-2011."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from detectron2.config import instantiate

from bpt_det.classification import classification_data
from bpt_det.classification.layouts import load_classification, reading
from bpt_det.cli import stats
from bpt_det.config import load_config
from bpt_det.vit import fingerprint
from bpt_det.vit.statistics import load_statistics
from tests.support.class_trees import TRAIN_SIZES, write_cub, zip_tree
from tests.support.detectors import TINY_VIT
from tests.support.paths import ROOT

CONFIG = str(ROOT / "configs/fgvc/cub.py")
METHOD = "method=fwhiten_s"
NUM_TRAIN = sum(TRAIN_SIZES) - 3  # the others are its validation split
VIT = [f"model.backbone.vit.{key}={value}" for key, value in TINY_VIT.items() if value is not None]
VIT += ["model.backbone.vit.checkpoint=null", "model.backbone.vit.pretrain_size=48"]


@pytest.fixture
def cub(tmp_path):
    return write_cub(tmp_path / "CUB_200_2011")


@pytest.fixture
def collect(tmp_path, cub):
    """The tool on the miniature dataset; returns the exit status. Later options count."""
    settings = [*VIT, f"dataloader.root={cub}", "dataloader.train.total_batch_size=4"]
    settings += ["model.backbone.prompt.prompt_length=5"]
    settings += ["dataloader.image_size=48", "dataloader.resize_size=48"]
    settings += [f"train.prompt_statistics={tmp_path / 'tiny.st'}"]
    yield lambda *argv: stats.main(["--config-file", CONFIG, METHOD, *settings, *map(str, argv)])
    for name in ("bpt_det", "detectron2", "fvcore"):
        logging.getLogger(name).handlers.clear()


def error_line(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_the_training_images_pass_through_the_vit_of_the_config(collect, tmp_path):
    assert collect("--num-images", 7) == 0
    statistics = load_statistics(tmp_path / "tiny.st")
    assert list(statistics.blocks) == [0] and statistics.num_images == 7
    assert statistics.blocks[0].num_tokens == 7 * (1 + (48 // 16) ** 2)
    assert statistics.fingerprint == fingerprint(
        instantiate(load_config(CONFIG, [METHOD, *VIT]).model.backbone.vit)
    )
    assert statistics.preprocessing["images"] == "cub"
    assert statistics.preprocessing["input_format"] == "RGB"


def test_the_dataset_is_read_once(collect, monkeypatch):
    read = []
    read_once = reading.read_dataset

    def count(*args):
        read.append(args)
        return read_once(*args)

    for module in (reading, classification_data):
        monkeypatch.setattr(module, "read_dataset", count)
    assert collect("--num-images", 7) == 0
    assert [name for name, *_ in read] == ["cub"]


def test_neither_validation_nor_test_images_are_used(collect, cub, tmp_path):
    """The same as of a folder that holds the training images alone."""
    (tmp_path / "photos").mkdir()
    for record in load_classification("cub", cub, "train").records:
        shutil.copy(record["file_name"], tmp_path / "photos")
    assert collect() == 0  # 100 images are asked for
    assert collect("--images", tmp_path / "photos", "--output", tmp_path / "photos.st") == 0
    found, expected = (load_statistics(tmp_path / name) for name in ("tiny.st", "photos.st"))
    assert found.num_images == expected.num_images == NUM_TRAIN
    torch.testing.assert_close(found.blocks[0].second_moment, expected.blocks[0].second_moment)
    assert expected.preprocessing["images"] == str(tmp_path / "photos")


def test_images_are_read_out_of_an_archive(collect, cub, tmp_path):
    archive = zip_tree(cub, tmp_path / "birds.zip", inside="CUB_200_2011")
    assert collect() == 0
    argv = [f"dataloader.root={archive}", "--output", tmp_path / "zip.st"]
    assert collect(*argv) == 0
    found, expected = (load_statistics(tmp_path / name) for name in ("zip.st", "tiny.st"))
    assert torch.equal(found.blocks[0].second_moment, expected.blocks[0].second_moment)


@pytest.mark.parametrize("images", ["coco_2017_train", "/no/where"])
def test_images_can_only_be_a_folder(images, collect, tmp_path, capsys):
    assert collect("--images", images) == 2
    assert error_line(capsys) == (
        f"error: --images '{images}' is not a folder; give one, or leave --images out to take the "
        "training data of the config."
    )
    assert not (tmp_path / "tiny.st").exists()


def test_prompts_that_need_no_statistics_are_named_by_their_key_in_this_config(collect, capsys):
    assert collect("model.backbone.prompt=null") == 2
    assert "or set model.backbone.prompt.basis_init=whitening or .init=" in error_line(capsys)


def test_a_broken_image_is_named_and_nothing_is_left_behind(collect, cub, tmp_path, capsys):
    broken = load_classification("cub", cub, "train").records[4]["file_name"]
    Path(broken).write_bytes(b"no image")
    assert collect() == 2
    assert f"image '{broken}' cannot be read" in error_line(capsys)
    assert not (tmp_path / "tiny.st").exists()
