"""Custom datasets from the command line: train, evaluate the run by itself, draw, refuse."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from detectron2.config import LazyConfig

from bpt_det.cli.app import main
from bpt_det.config import load_config
from bpt_det.engine.metrics import read_final_metrics
from tests.support.detectors import DETECTION_CONFIGS, shrink
from tests.support.paths import ROOT

CLASSES = (16, 1, 13)  # of the shapes, the three that are kept


def run_command(*words):
    """Run a command by its name; returns its exit status."""
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def sources(tmp_path_factory, shapes_root):
    """``data.train=…`` and ``data.val=…`` of three of the ten shapes, in one folder."""
    folder = tmp_path_factory.mktemp("mine")
    options = []
    for split in ("train", "val"):
        content = json.loads((shapes_root / f"annotations/instances_{split}.json").read_text())
        for name, key in (("annotations", "category_id"), ("categories", "id")):
            content[name] = [entry for entry in content[name] if entry[key] in CLASSES]
        (folder / f"{split}.json").write_text(json.dumps(content))
        images = shutil.copytree(shapes_root / split, folder / split)
        options.append(f"data.{split}={folder}/{split}.json:{images}")
    return options


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A tiny detector for COCO, as a YAML file."""
    cfg = shrink(load_config(str(ROOT / "configs/coco/overfit_micro.py")))
    cfg.train.update(max_iter=2, eval_period=2, device="cpu")
    cfg.train.checkpointer.period = 2
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return path


@pytest.fixture
def run(config, sources, tmp_path):
    """Folder of a run on the data."""
    folder = tmp_path / "run"
    options = [*sources, f"train.output_dir={folder}"]
    assert run_command("train", "--config-file", config, *options) == 0
    return folder


def only_line(status, capsys):
    assert status == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize("leaf", DETECTION_CONFIGS)
def test_every_config_takes_data_of_ones_own(leaf):
    data = load_config(str(ROOT / leaf)).data
    assert (data.train, data.val) == (None, None)


def test_a_run_is_evaluated_and_drawn_from_its_own_config(run, tmp_path):
    names = {key for key in read_final_metrics(run) if key.startswith("segm/AP-")}
    assert len(names) == len(CLASSES)
    options = ["--config-file", run / "config.yaml"]
    assert run_command("train", *options, "--eval-only", "--resume") == 0
    assert (run / "eval_only/inference/coco_instances_results.json").is_file()
    pictures = tmp_path / "pictures"
    assert run_command("visualize", *options, "--output", pictures, "--num-images", 1) == 0
    assert len(list(pictures.iterdir())) == 2


def test_an_archive_trains_and_evaluates_as_its_folders_do(run, config, sources, tmp_path):
    packed = []
    for option, suffix in zip(sources, ("zip", "tar"), strict=True):
        json_file, _, images = option.partition("=")[2].partition(":")
        archive = shutil.make_archive(
            str(tmp_path / Path(images).name), suffix, Path(images).parent, Path(images).name
        )
        if suffix == "zip":  # the annotation file in the archive too
            with zipfile.ZipFile(archive, "a") as file:
                file.write(json_file, "annotations/instances.json")
            json_file = f"{archive}/annotations/instances.json"
        packed.append(f"{json_file}:{archive}/{Path(images).name}")
        assert run_command("check", packed[-1]) == 0
    options = [f"data.train={packed[0]}", f"data.val={packed[1]}"]
    again = tmp_path / "packed"
    command = ["train", "--config-file", config, *options, f"train.output_dir={again}"]
    assert run_command(*command, "dataloader.train.num_workers=2") == 0
    weights = [torch.load(f / "model_final.pth", weights_only=True)["model"] for f in (run, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert read_final_metrics(run) == read_final_metrics(again)
    assert run_command("check", tmp_path / "train.zip") == 0  # which holds its annotations too


def test_validation_data_alone_are_evaluated_and_drawn(run, config, sources, tmp_path):
    settings = [sources[1], f"train.init_checkpoint={run}/model_final.pth"]
    elsewhere = f"train.output_dir={tmp_path / 'elsewhere'}"
    command = ["train", "--config-file", config, "--eval-only"]
    assert run_command(*command, *settings, elsewhere) == 0
    command = ["visualize", "--config-file", config, "--output", tmp_path / "pictures"]
    assert run_command(*command, "--num-images", 2, *settings) == 0
    assert len(list((tmp_path / "pictures").iterdir())) == 3


def test_validation_data_alone_are_refused_for_training(config, sources, tmp_path, capsys):
    options = [sources[1], f"train.output_dir={tmp_path / 'out'}"]
    status = run_command("train", "--config-file", config, *options)
    line = only_line(status, capsys)
    assert "data.train=PATH" in line and "--eval-only" in line


def test_boxes_alone_are_trained_and_evaluated(config, sources, tmp_path):
    options = []
    for split, source in zip(("train", "val"), sources, strict=True):
        file, _, images = source.partition("=")[2].partition(":")
        content = json.loads(Path(file).read_text())
        for annotation in content["annotations"]:
            del annotation["segmentation"]
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
        options.append(f"data.{split}={tmp_path}/{split}.json:{images}")
    folder = tmp_path / "run"
    options.append(f"train.output_dir={folder}")
    assert run_command("train", "--config-file", config, *options) == 0
    metrics = read_final_metrics(folder)
    assert "bbox/AP" in metrics and "segm/AP" not in metrics
    own = ["--config-file", folder / "config.yaml"]
    assert run_command("train", *own, "--eval-only", "--resume") == 0
    options = ["--output", tmp_path / "pictures", "--num-images", 1]
    assert run_command("visualize", *own, *options) == 0


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.train=mine.json", "'data.train=mine.json' is neither a path that exists nor of "),
        ("data.train=no.json:no", "no.json' does not exist; correct the path."),
        ("model.roi_heads.num_classes=7", "=7 contradicts the 3 classes of the data ("),
        ("data.tran=a:b", "the config has no key 'data.tran'; did you mean 'data.train'?"),
    ],
)
def test_a_bad_setting_is_one_line(config, sources, tmp_path, capsys, override, expected):
    options = [*sources, override, f"train.output_dir={tmp_path / 'out'}"]
    assert expected in only_line(run_command("train", "--config-file", config, *options), capsys)
    assert not (tmp_path / "out").exists()
