"""The small-size run of classification: its steps, its table, its refusals."""

import importlib
import json
import math

import pytest

from tests.support.paths import ROOT

COLUMNS = ("top1", "top5", "mean_per_class")


@pytest.fixture
def demo_cls(monkeypatch):
    """The tool, imported from its own folder as when it is run."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bpt_det.cli.demo_cls")


def accuracies(start):
    """Six different numbers by the names an evaluation gives them."""
    keys = [f"{task}/{column}" for task in ("val", "test") for column in COLUMNS]
    return {key: start + index for index, key in enumerate(keys)}


def test_the_table_has_a_row_for_each_run_validation_before_test(demo_cls):
    text = demo_cls.format_accuracy_table({"prompts": accuracies(40.25), "head": accuracies(20)})
    rows = [line.split() for line in text.splitlines()]
    assert rows[-2] == ["prompts", "40.2", "41.2", "42.2", "43.2", "44.2", "45.2"]
    assert rows[-1] == ["head", "20.0", "21.0", "22.0", "23.0", "24.0", "25.0"]
    assert " ".join(rows[0]) == " ".join(["last val"] * 3 + ["best, test"] * 3)
    assert " ".join(rows[1]) == " ".join(["top-1 top-5 mean per class"] * 2)


def test_what_was_not_measured_is_nan_in_the_table(demo_cls):
    text = demo_cls.format_accuracy_table({"head": {"test/top5": 50.0}})
    values = [float(value) for value in text.splitlines()[-1].split()[1:]]
    assert [math.isnan(value) for value in values] == [True] * 4 + [False, True]


def test_the_accuracies_are_the_last_validation_and_the_final_test(demo_cls, tmp_path):
    records = [
        {"iteration": 9, "val/top1": 30.0},
        {"iteration": 19, "val/top1": 35.0, "val/top5": 80.0},
        {"iteration": 20, "test/top1": 33.0},
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "metrics.json").write_text(lines)
    expected = {"val/top1": 35.0, "val/top5": 80.0, "test/top1": 33.0}
    assert demo_cls.read_accuracies(tmp_path) == expected


def test_the_demo_renders_then_trains_every_method_into_a_folder_of_its_own(
    demo_cls, tmp_path, monkeypatch, caplog
):
    commands = []

    def record(command, datasets):
        commands.append(command)
        assert datasets == tmp_path / "datasets"

    monkeypatch.setattr(demo_cls, "run", record)
    monkeypatch.setattr(demo_cls, "read_accuracies", lambda folder: accuracies(10))
    with caplog.at_level("INFO"):
        demo_cls.run_demo(tmp_path, ["train.epochs=2"])
    rendering, *trainings = commands
    folder = str(tmp_path / "datasets/shapes_crops")
    assert rendering == ["-m", "bpt_det.shapes", "--crops", "--output", folder]
    assert [command[2] for command in trainings] == [
        "configs/shapes_crops/bpt_s.py",
        "configs/shapes_crops/linear.py",
    ]
    assert all((ROOT / command[2]).is_file() for command in trainings)
    speedups = {"bpt_s": [], "linear": ["dataloader.cache_prefix=True"]}
    for command, (name, speedup) in zip(trainings, speedups.items(), strict=True):
        assert command[3:] == [f"train.output_dir={tmp_path / name}", *speedup, "train.epochs=2"]
    assert str(tmp_path / "bpt_s/curves.png") in caplog.text
    assert str(tmp_path / "bpt_s/test/most_confused.png") in caplog.text


def test_a_step_that_fails_ends_the_demo_in_one_line(demo_cls, tmp_path, capsys):
    (tmp_path / "datasets").write_text("not a folder")
    assert demo_cls.main(["--output", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: `python -m bpt_det.shapes --crops --output")
    assert line.endswith("ended with status 1.")


def test_the_tool_explains_itself_with_an_example(demo_cls, capsys):
    with pytest.raises(SystemExit) as ended:
        demo_cls.main(["--help"])
    assert ended.value.code == 0
    assert "tools/demo_cls.py" in capsys.readouterr().out
