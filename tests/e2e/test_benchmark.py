"""The benchmark from the command line: tables, JSON, skipped lines, bad input."""

import json

import pytest
import torch

from bpt_det.cli.actions.benchmark import PEAK_SIZES
from bpt_det.cli.benchmark import main
from tests.support.paths import ROOT

VIT = "model.backbone.net.vit"
SIZES = [f"{VIT}.{k}={v}" for k, v in (("embed_dim", 16), ("num_blocks", 4), ("num_heads", 2))]
SETTINGS = ["--config-file", "configs/shapes/cascade_bpt_s.py", *SIZES, "--image-size", "64"]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(PEAK_SIZES, "cpu", 16)
    common = [*SETTINGS, "--device", "cpu", "--repeats", "2"]
    return lambda *arguments: main([*common, *map(str, arguments)])


def test_tables_and_json_of_all_variants(benchmark, tmp_path, capsys):
    output = tmp_path / "benchmark.json"
    measures = ["forward", "backbone_step", "data"]
    missing = [
        *("+dataloader.train.dataset.json_file=nowhere.json",),
        *("+dataloader.train.dataset.image_root=nowhere", "dataloader.train.dataset.names=no_data"),
    ]
    assert benchmark(*missing, "--measure", *measures, "--output", output) == 0
    out = capsys.readouterr().out
    assert "skipped: data: dataset 'no_data'" in out
    assert "| forward: BPT-S, P = 100 / bare timm ViT, as many tokens as BPT-S" in out
    report = json.loads(output.read_text())
    assert report["machine"]["torch"] == torch.__version__
    assert report["command"].startswith("bpt-det benchmark --config-file configs/shapes/")
    assert report["flops_counted_with"] == "torch.utils.flop_counter.FlopCounterMode"
    rows = {(row["measure"], row["variant"]): row for row in report["measurements"]}
    assert ("forward", "bare") in rows and ("backbone_step", "bpt_s_checkpointed") in rows
    assert all(len(row["seconds"]) == 2 and row["flops"] > 0 for row in rows.values())


def test_a_training_step_of_one_variant(benchmark, capsys):
    assert benchmark("--measure", "train_step", "--variants", "bpt_d", "bare") == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| train_")]
    assert len(rows) == 1 and "BPT-D, last 4" in rows[0]


@pytest.mark.usefixtures("benchmark")
def test_without_a_gpu_it_runs_on_the_cpu_and_says_what_is_not_measured(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = [*SETTINGS[:-2], "dataloader.image_size=72"]
    assert main([*arguments, "--measure", "train_step", "--variants", "bare"]) == 0
    out = capsys.readouterr().out
    assert "Peak activations: increase of the process's resident set" in out
    assert "skipped: train_step: not measured of bare\n" in out


def test_evaluation_and_scoring_of_a_data_set(benchmark, shapes_root, tmp_path, capsys):
    data = [
        *("dataloader.test.dataset.names=benchmarked_val", "model.roi_heads.num_classes=10"),
        f"+dataloader.test.dataset.json_file={shapes_root / 'annotations/instances_val.json'}",
        f"+dataloader.test.dataset.image_root={shapes_root / 'val'}",
    ]
    output = tmp_path / "benchmark.json"
    measures = ["--measure", "evaluation", "scoring", "--scored-images", "7"]
    assert benchmark(*data, *measures, "--output", output) == 0
    out = capsys.readouterr().out
    for measure in ("evaluation", "scoring"):
        assert f"\n{measure}: 24 metrics differ by at most " in out
        assert f"| {measure}: ours / Detectron2 with pycocotools" in out
    rows = json.loads(output.read_text())["measurements"]
    assert [row["batch_size"] for row in rows] == [6, 6, 7, 7]


def test_evaluation_is_skipped_without_data(benchmark, capsys):
    missing = [
        *("+dataloader.test.dataset.json_file=nowhere.json",),
        *("+dataloader.test.dataset.image_root=nowhere", "dataloader.test.dataset.names=no_data"),
    ]
    assert benchmark(*missing, "--measure", "evaluation", "scoring") == 0
    out = capsys.readouterr().out
    assert "skipped: evaluation: dataset 'no_data'" in out
    assert "skipped: scoring: dataset 'no_data'" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--measure", "speed"], "--measure speed is unknown; choose from forward, backbone_step"),
        (
            ["--variants", "bpt"],
            "--variants bpt is unknown; choose from bare, config, frozen, bpt_s",
        ),
        (["--device", "tpu"], "--device tpu is unknown; choose from auto, cpu, cuda."),
        (["--precision", "int8"], "--precision int8 is unknown; choose from auto, float32"),
        (["--image-size", "100"], "--image-size must be a multiple of the patch size 8, got 100."),
        (["--repeats", "0"], "--repeats must be at least 1, got 0."),
        (["--batch-sizes", "2", "0"], "--batch-sizes must be at least 1, got 0."),
        (["--scored-images", "0"], "--scored-images must be at least 1, got 0."),
        (["--seed", "-1"], "--seed must be at least 0, got -1."),
    ],
)
def test_bad_input_is_one_line(benchmark, arguments, text, capsys):
    assert benchmark(*arguments) == 2
    out, err = capsys.readouterr()
    assert text in err and "Traceback" not in out + err and err.count("error: ") == 1


def test_a_missing_gpu_is_one_line(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert benchmark("--device", "cuda") == 2
    assert "--device cuda: no GPU is visible; use --device cpu." in capsys.readouterr().err
