"""Demo of classification: its steps, its table, a step that fails."""

import math

from bpt_det.cli.actions import demo_cls
from bpt_det.cli.demo_cls import main
from bpt_det.config import load_config

COLUMNS = ("top1", "top5", "mean_per_class")


def accuracies(start):
    """Six different numbers by the names an evaluation gives them."""
    keys = [f"{task}/{column}" for task in ("val", "test") for column in COLUMNS]
    return {key: start + index for index, key in enumerate(keys)}


def test_the_table_has_a_row_for_each_run_validation_before_test():
    text = demo_cls.format_accuracy_table({"prompts": accuracies(40.25), "head": accuracies(20)})
    rows = [line.split() for line in text.splitlines()]
    assert rows[-2] == ["prompts", "40.2", "41.2", "42.2", "43.2", "44.2", "45.2"]
    assert rows[-1] == ["head", "20.0", "21.0", "22.0", "23.0", "24.0", "25.0"]
    assert " ".join(rows[0]) == " ".join(["last val"] * 3 + ["best, test"] * 3)
    assert " ".join(rows[1]) == " ".join(["top-1 top-5 mean per class"] * 2)


def test_missing_metrics_are_nan_in_the_table():
    text = demo_cls.format_accuracy_table({"head": {"test/top5": 50.0}})
    values = [float(value) for value in text.splitlines()[-1].split()[1:]]
    assert [math.isnan(value) for value in values] == [True] * 4 + [False, True]


def test_the_demo_renders_then_trains_every_method_into_a_folder_of_its_own(
    tmp_path, monkeypatch, caplog
):
    commands = []

    def record(words, datasets):
        commands.append(words)
        assert datasets == tmp_path / "datasets"

    monkeypatch.setattr(demo_cls, "run_module", record)
    monkeypatch.setattr(demo_cls, "read_final_metrics", lambda *_: accuracies(10))
    with caplog.at_level("INFO"):
        demo_cls.demo(tmp_path, ["train.epochs=2"])
    rendering, *trainings = commands
    folder = str(tmp_path / "datasets/shapes_crops")
    assert rendering == ["bpt_det.shapes", "--crops", "--output", folder]
    for words, (name, more) in zip(
        trainings, {"bpt_s": [], "frozen": ["dataloader.cache_prefix=True"]}.items(), strict=True
    ):
        assert words[:3] == ["bpt_det.cli", "train-cls", "--config-file"]
        assert set(words[4:]) == {
            *(f"method={name}", f"train.output_dir={tmp_path / name}", *more, "train.epochs=2")
        }
        assert load_config(words[3], words[4:]).train.epochs == 2
    assert str(tmp_path / "bpt_s/curves.png") in caplog.text
    assert str(tmp_path / "bpt_s/test/most_confused.png") in caplog.text


def test_a_step_that_fails_ends_the_demo_in_one_line(tmp_path, capsys):
    (tmp_path / "datasets").write_text("not a folder")
    assert main(["--output", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: `python -m bpt_det.shapes --crops --output")
    assert line.endswith("ended with status 2.")
