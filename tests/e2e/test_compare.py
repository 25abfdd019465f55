"""Comparing from the command line: two methods of a tiny classifier, and every plan of ours."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from bpt_det.classification import use_classification_data
from bpt_det.cli.compare import main
from bpt_det.comparison import load_experiment
from bpt_det.comparison.runner import build_arguments
from bpt_det.config import load_config
from bpt_det.detection import use_detection_data
from tests.support import class_trees
from tests.support.paths import ROOT

PLANS = sorted((ROOT / "configs/compare").glob("*.py"))
PLAN = """
plan = dict(
    name="birds", title="Birds", about="A tiny one.", command="train-cls",
    settings={{
        "dataloader.root": "{root}", "dataloader.image_size": 16, "dataloader.resize_size": 18,
        "dataloader.train.num_workers": 0, "dataloader.test.num_workers": 0,
        "dataloader.train.total_batch_size": 7, "train.epochs": 1, "train.device": "cpu",
        "model.backbone.vit.embed_dim": 16, "model.backbone.vit.num_blocks": 2,
        "model.backbone.vit.num_heads": 2, "model.backbone.vit.patch_size": 8,
        "model.backbone.vit.pretrain_size": 16, "model.backbone.vit.checkpoint": None,
    }},
    grid={{"optimizer.lr": [0.05]}}, seeds=[0], grid_settings={{"dataloader.final_test": None}},
    select="val/top1", report={{"test": "test/top1"}},
    methods={{
        "linear": dict(label="linear", config="fgvc/cub", method="frozen"),
        "spt": dict(
            label="SPT", config="fgvc/cub", method="spt_s", statistics="tokens",
            grid={{"optimizer.lr": [0.01, 0.02]}},
            settings={{"model.backbone.prompt.prompt_length": 3,
                      "model.backbone.prompt.init": "mean_pool"}},
        ),
    }},
)
"""


@pytest.fixture
def compare():
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture
def arguments(tmp_path):
    root = class_trees.write_cub(tmp_path / "CUB_200_2011")
    (tmp_path / "plan.py").write_text(PLAN.format(root=root))
    return ["--plan", tmp_path / "plan.py", "--output", tmp_path / "runs"]


def test_a_comparison_runs_from_the_plan_to_the_report(compare, arguments, tmp_path):
    assert compare(*arguments, "--jobs", 2) == 0
    runs = {str(p.parent.relative_to(tmp_path / "runs")) for p in tmp_path.rglob("result.json")}
    assert runs == {".", "linear/seed_0", "spt/grid/lr_0.01", "spt/grid/lr_0.02", "spt/seed_0"}
    assert (tmp_path / "runs/statistics/tokens.safetensors").is_file()
    assert not (tmp_path / "runs/spt/grid/lr_0.01/test").exists()
    assert (tmp_path / "runs/spt/seed_0/test/predictions.csv").is_file()
    rows = [line for line in (tmp_path / "runs/report.md").read_text().splitlines() if "|" in line]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    linear, spt = cells[2], cells[3]
    assert (linear[:3], spt[0]) == (["linear", "51", "lr 0.05"], "SPT")  # 3 classes, 16 wide
    assert int(spt[1]) == 51 + 3 * 16
    assert all(0 <= float(row[3]) <= 100 for row in (linear, spt))


def test_bad_input_is_one_line_and_nothing_is_run(compare, arguments, tmp_path, capsys):
    assert compare(*arguments, "--jobs", 0) == 2
    assert compare("--plan", tmp_path / "none.py") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: --jobs must be at least 1, got 0."
    assert "none.py' does not exist" in lines[1] and "configs/compare/" in lines[1]
    assert not (tmp_path / "runs").exists()


def test_when_it_is_asked_to_end_its_runs_end_too(arguments, tmp_path):
    script = tmp_path / "plan.py"
    script.write_text(script.read_text().replace('"train.epochs": 1', '"train.epochs": 10000'))
    words = [sys.executable, ROOT / "tools/compare.py", *map(str, arguments)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(words, cwd=tmp_path, text=True, **pipes) as comparison:
        try:
            begun = next(line for line in comparison.stdout if "$ bpt-det train-cls" in line)
            comparison.terminate()
            last_line = comparison.communicate()[1].splitlines()[-1]
        finally:
            comparison.kill()
    assert "linear/seed_0" in begun
    assert last_line.startswith("preempted: stopped by SIGTERM")
    assert comparison.returncode == 75
    assert not _commands_with(f"train.output_dir={tmp_path}")


def _commands_with(word: str) -> list[str]:
    """Return the command lines of all processes that hold a word."""
    texts = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            texts.append(path.read_text().replace("\0", " "))
    return [line for line in texts if word in line]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_setting_of_a_plan_is_one_of_its_configs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = load_experiment(str(path))
    assert experiment.name == path.stem
    adapt, data = use_detection_data, []
    if experiment.command == "train-cls":
        write, folder = (
            (class_trees.write_cars, "stanford_cars")
            if experiment.methods[0].config.endswith("cars.py")
            else (class_trees.write_cub, "CUB_200_2011")
        )
        root = write(tmp_path / folder)
        adapt, data = use_classification_data, [f"dataloader.root={root}"]
    for method in experiment.methods:
        point = experiment.only_point(method)
        runs = [*experiment.grid_runs(method)[:1], experiment.final_runs(method, point)[0]]
        for run in runs:
            words = build_arguments(experiment, run, tmp_path)
            cfg = load_config(words[2], [*words[3:], *data], adapt)
            assert cfg.train.seed == run.seed
            assert _reads_no_test(cfg, experiment.command) == (not run.is_final)


def _reads_no_test(cfg, command):
    """Whether a run evaluates on what is not the test data."""
    if command == "train-cls":
        return cfg.dataloader.final_test is None and cfg.dataloader.test.dataset.split == "val"
    return cfg.dataloader.test.dataset.names == "shapes_val"
