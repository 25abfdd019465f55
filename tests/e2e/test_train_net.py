"""The main job from the command line, at a tiny size: train, resume, evaluate, refuse."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
import torch
from detectron2.config import LazyConfig
from PIL import Image

from bpt_det.cli import app
from bpt_det.config import load_config
from bpt_det.engine import read_result
from bpt_det.engine.metrics import read_final_metrics, read_records
from tests.support.detectors import shrink, use_shapes
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def config(tmp_path_factory, shapes_root):
    """A tiny config as a YAML file."""
    os.chdir(ROOT)
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.max_iter = 4
    cfg.train.eval_period = cfg.train.checkpointer.period = 2
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return path


def tool_main(name):
    """The main function of a tool; nothing else imports `tools/`."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def train_net(*arguments):
    return tool_main("train_net")([str(argument) for argument in arguments])


def in_a_process(tool, *arguments, **environment):
    """Run a tool as a user does."""
    return subprocess.run(
        [sys.executable, f"tools/{tool}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def only_line(status, out, err):
    """The one line of a refused command, which has no traceback."""
    assert status == 2, out + err
    assert "Traceback" not in out + err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "trained"
    assert train_net("--config-file", config, f"train.output_dir={folder}") == 0
    return folder


def test_training_evaluates_and_leaves_everything_a_user_needs(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.json", "last_checkpoint", "inference"} <= names
    assert {"model_0000001.pth", "model_0000003.pth", "model_final.pth"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    metrics = read_final_metrics(trained)
    assert {"bbox/AP", "segm/AP", "bbox/AP-disc", "segm/AP-leaf"} <= metrics.keys()


def test_an_output_folder_that_holds_a_run_is_left_alone(config, trained, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in trained.iterdir()}
    status = train_net("--config-file", config, f"train.output_dir={trained}")
    line = only_line(status, *capsys.readouterr())
    assert "already holds a run" in line and "--resume" in line
    assert {path.name: path.stat().st_mtime_ns for path in trained.iterdir()} == before


def test_evaluation_alone_gives_the_metrics_of_the_end_of_training(config, trained):
    done = in_a_process(
        *("train_net.py", "--config-file", config, "--eval-only", "--resume"),
        *("train.init_checkpoint=not_this_one.pth", f"train.output_dir={trained}"),
    )
    assert done.returncode == 0, done.stderr
    assert read_final_metrics(trained / "eval_only") == pytest.approx(
        read_final_metrics(trained), abs=1e-4, nan_ok=True
    )
    assert (trained / "eval_only/log.txt").is_file()


def test_eval_gives_the_result_of_evaluation_alone(trained, tmp_path, capsys):
    config, checkpoint = trained / "config.yaml", trained / "model_0000001.pth"
    only = ["--eval-only", f"train.init_checkpoint={checkpoint}", f"train.output_dir={tmp_path}"]
    assert train_net("--config-file", config, *only) == 0
    arguments = ["--config-file", str(config), "--checkpoint", str(checkpoint), "--output"]
    assert app.main(["eval", *arguments, str(tmp_path / "here")]) == 0
    expected = read_result(tmp_path / "eval_only").metrics
    assert expected["final"] and read_result(tmp_path / "here").metrics == expected
    status = app.main(["eval", *arguments, str(trained)])
    assert "holds a run" in only_line(status, *capsys.readouterr())
    status = app.main(["eval", *arguments, str(tmp_path / "here")])
    assert "holds an earlier evaluation" in only_line(status, *capsys.readouterr())


def test_an_evaluation_alone_never_replaces_an_earlier_one(trained, tmp_path):
    only = ["--eval-only", f"train.init_checkpoint={trained / 'model_0000001.pth'}"]
    only += [f"train.output_dir={tmp_path}"]
    (tmp_path / "eval_only").mkdir()
    (tmp_path / "eval_only/result.json").write_text("of an earlier one")
    assert train_net("--config-file", trained / "config.yaml", *only) == 0
    assert (tmp_path / "eval_only/result.json").read_text() == "of an earlier one"
    assert read_result(tmp_path / "eval_only_2").metrics["final"]


def test_evaluation_alone_without_a_checkpoint_is_refused(config, tmp_path, capsys):
    status = train_net("--config-file", config, "--eval-only", f"train.output_dir={tmp_path}")
    assert "--eval-only needs train.init_checkpoint=PATH" in only_line(status, *capsys.readouterr())


def test_evaluation_of_a_folder_without_a_run_is_refused(config, tmp_path, capsys):
    settings = ["--eval-only", "--resume", f"train.output_dir={tmp_path}"]
    status = train_net("--config-file", config, *settings)
    line = only_line(status, *capsys.readouterr())
    assert f"no checkpoint to load: '{tmp_path}' holds none" in line


def test_resuming_goes_on_after_the_last_checkpoint(config, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "resumed")
    settings = ["--resume", "train.max_iter=6", f"train.output_dir={folder}"]
    assert train_net("--config-file", config, *settings) == 0
    final = torch.load(folder / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 5
    records, earlier = (list(read_records(run / "metrics.json")) for run in (folder, trained))
    iterations = [record["iteration"] for record in records]
    assert iterations == sorted(set(iterations)) and iterations[-1] == 6  # each once
    losses = {r["iteration"]: r["total_loss"] for r in records if "total_loss" in r}
    for record in earlier:
        if "total_loss" in record:
            assert losses[record["iteration"]] == record["total_loss"]


def test_a_missing_data_set_is_one_line_of_a_real_process(tmp_path):
    done = in_a_process(
        "train_net.py",
        "--config-file",
        "configs/shapes/cascade_bpt_s.py",
        f"train.output_dir={tmp_path / 'out'}",
        DETECTRON2_DATASETS=str(tmp_path / "nowhere"),
    )
    line = only_line(done.returncode, done.stdout, done.stderr)
    assert f"'{tmp_path / 'nowhere/shapes/train'}' does not exist" in line
    assert "datasets/README.md" in line and "demo" in line


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_decoded_is_one_line(
    config, shapes_root, tmp_path, num_workers, capsys
):
    shutil.copytree(shapes_root / "train", tmp_path / "train")
    for path in (tmp_path / "train").iterdir():
        path.write_bytes(path.read_bytes()[:300])
    status = train_net(
        "--config-file",
        config,
        f"train.output_dir={tmp_path / 'out'}",
        f"dataloader.train.num_workers={num_workers}",
        f"dataloader.train.dataset.names=broken_{num_workers}",
        f"dataloader.train.dataset.image_root={tmp_path / 'train'}",
    )
    line = only_line(status, *capsys.readouterr())
    assert "error: image '" in line and "cannot be read" in line


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.max_itr=10", "did you mean 'train.max_iter'?"),
        (
            "model.roi_heads.num_classes=7",
            "has 10 classes but the model has num_classes=7; set model.roi_heads.num_classes=10",
        ),
        (
            "model.backbone.net.prompt.prompt_length=0",
            "model.backbone.net.prompt.prompt_length must be an integer >= 1, got 0.",
        ),
        ("model.backbone.net.prompt.rank=33", "rank must be in [1, embed_dim=32], got 33."),
        (
            "model.backbone.net.prompt.rank=0",
            "model.backbone.net.prompt.rank must be an integer >= 1, got 0.",
        ),
        ("model.backbone.net.vit.checkpoint=no.pth", "weights 'no.pth' do not exist. The official"),
        ("train.output_dir=/dev/null/x", "cannot write to train.output_dir '/dev/null/x'"),
        ("train.init_checkpoint=no.pth", "weights 'no.pth' do not exist. Give the path of a"),
    ],
)
def test_a_bad_setting_is_one_line(config, tmp_path, override, expected, capsys):
    settings = [f"train.output_dir={tmp_path / 'out'}", override]
    status = train_net("--config-file", config, *settings)
    assert expected in only_line(status, *capsys.readouterr())


def test_pictures_of_the_trained_model(config, trained, tmp_path):
    status = tool_main("visualize_masks")(
        ["--config-file", str(config), "--output", str(tmp_path / "pictures")]
        + ["--num-images", "3", "--score-threshold", "0.0", f"train.output_dir={trained}"]
    )
    assert status == 0
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert len(pictures) == 4 and (tmp_path / "pictures/contact_sheet.png") in pictures
    for path in pictures:
        assert min(Image.open(path).size) > 200
