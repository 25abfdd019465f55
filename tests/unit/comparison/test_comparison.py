"""Plans, the choice of settings, and reports; the runs themselves are stand-ins."""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from bpt_det.comparison import load_plan, perform, runs, write_report
from bpt_det.comparison import subprocesses as children
from bpt_det.comparison.runs import command_of, read_result
from bpt_det.engine import DivergenceError
from bpt_det.engine.trainer import check_finite
from bpt_det.utils.errors import InputError
from tests.support.plans import PLAN


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "plan.py").write_text(PLAN)
    return load_plan(str(tmp_path / "plan.py"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def calls(monkeypatch):
    """Stand-in for the training tool: its accuracy is 100 * lr + seed, its test 1 below."""
    made = []

    def call(command, jobs):
        made.append(command)
        settings = dict(word.split("=", 1) for word in command[3:] if "=" in word)
        folder = Path(settings["train.output_dir"].strip("'"))
        assert folder.is_absolute()
        folder.mkdir(parents=True, exist_ok=True)
        value = 100 * float(settings["optimizer.lr"]) + int(settings["train.seed"])
        records = [
            {"iteration": 9, "val/top1": value, "time": 0.5},
            {"iteration": 19, "val/top1": value - 2, "test/top1": value - 1, "time": 0.5},
        ]
        (folder / "metrics.json").write_text("\n".join(map(json.dumps, records)))
        (folder / "log.txt").write_text("Parameters: 1,234 trained, 99 frozen\n")
        return "", 0

    monkeypatch.setattr(runs, "_call", call)
    return made


def final_folders(outcomes):
    return [o.run.folder for o in outcomes if o.run.is_final]


def test_a_run_is_a_command_whose_settings_are_the_plans_the_methods_and_the_points(plan, output):
    run = plan.grid_runs(plan.methods[1])[1]
    assert run.folder == "bpt/grid/lr_0.01"
    assert command_of(plan, run, output) == [
        *("tools/train_cls.py", "--config-file", "b.py", "data='folder:/birds'"),
        *("train.epochs=3", "model.backbone.placement=[0, 2]", "optimizer.lr=0.01"),
        *("dataloader.final_test=null", "train.seed=3", f"train.output_dir={output}/{run.folder}"),
    ]
    final = plan.final_runs(plan.methods[1], {"optimizer.lr": 0.1})[1]
    words = command_of(plan, final, output)
    assert "train.seed=4" in words and "dataloader.final_test=null" not in words


def test_the_point_with_the_best_selecting_metric_is_run_with_every_seed(plan, output, calls):
    outcomes = perform(plan, output)
    assert [o.run.folder for o in outcomes if not o.run.is_final] == [
        *("bpt/grid/lr_0.1", "bpt/grid/lr_0.01"),
    ]
    finals = [o for o in outcomes if o.run.is_final]
    assert [(o.run.method.name, o.run.choice["optimizer.lr"], o.run.seed) for o in finals] == [
        *(("linear", 0.5, 3), ("linear", 0.5, 4), ("bpt", 0.1, 3), ("bpt", 0.1, 4)),
    ]
    assert finals[2].result.selected == 13.0  # the best, not the last
    assert (finals[2].result.num_trained, finals[2].result.seconds) == (1234, 10.0)


def interrupt(folder, checkpoint):
    """Leave a finished run as an interruption would have left it."""
    state = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**state, "state": "begun"}))
    (folder / "last_checkpoint").write_text(checkpoint)


def test_what_has_been_run_is_not_run_again_and_what_was_interrupted_is_resumed(
    plan, output, calls
):
    first = perform(plan, output)
    interrupt(output / "bpt/seed_4", "model_0000009.pth")
    calls.clear()
    assert perform(plan, output, jobs=2) == first
    assert len(calls) == 1 and calls[0][-1] == "--resume" and "train.seed=4" in calls[0]


def test_a_run_that_lacks_its_last_evaluation_alone_is_run_anew(plan, output, calls):
    """The training tool has nothing left to train then, and refuses to resume."""
    first = perform(plan, output)
    interrupt(output / "bpt/seed_4", "model_final.pth")
    calls.clear()
    assert perform(plan, output) == first
    assert len(calls) == 1 and "--resume" not in calls[0]
    assert not (output / "bpt/seed_4/last_checkpoint").exists()


def test_an_interrupted_run_is_not_resumed_with_other_settings(plan, output, calls, tmp_path):
    perform(plan, output)
    interrupt(output / "bpt/grid/lr_0.1", "model_0000009.pth")
    (tmp_path / "plan.py").write_text(PLAN.replace('"train.epochs": 3', '"train.epochs": 5'))
    calls.clear()
    with pytest.raises(InputError, match=r"another run than the plan asks for \(train.epochs=5\)"):
        perform(load_plan(str(tmp_path / "plan.py")), output)
    assert not calls


def test_another_selecting_metric_is_read_from_what_was_run(plan, output, calls, tmp_path):
    perform(plan, output)
    calls.clear()
    (tmp_path / "plan.py").write_text(PLAN.replace('"val/top1"', '"test/top1"'))
    outcomes = perform(load_plan(str(tmp_path / "plan.py")), output)
    assert not calls
    assert outcomes[0].result.selected == 12.0


def test_a_metric_without_a_value_is_neither_chosen_nor_averaged(
    plan, output, calls, monkeypatch, tmp_path
):
    whole = runs._call

    def predicting_nothing(command, jobs):
        whole(command, jobs)
        if "optimizer.lr=0.1" in command:
            folder = Path(dict(w.split("=", 1) for w in command[3:])["train.output_dir"])
            record = {"iteration": 19, "val/top1": float("nan"), "test/top1": float("nan")}
            (folder / "metrics.json").write_text(json.dumps(record))
        return "", 0

    monkeypatch.setattr(runs, "_call", predicting_nothing)
    outcomes = perform(plan, output)
    assert outcomes[0].result.selected is None
    assert outcomes[-1].run.choice == {"optimizer.lr": 0.01}
    write_report(plan, outcomes, tmp_path / "results.md", output, "command")
    text = (tmp_path / "results.md").read_text()
    assert "lr 0.1: no value; lr 0.01: 4.00" in text and "nan" not in text


def test_results_of_other_settings_are_not_taken_for_those_of_the_plan(
    plan, output, calls, tmp_path
):
    perform(plan, output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    (tmp_path / "plan.py").write_text(PLAN.replace('"train.epochs": 3', '"train.epochs": 5'))
    text = r"another run than the plan asks for \(train.epochs=5\); choose another --output"
    with pytest.raises(InputError, match=text):
        perform(load_plan(str(tmp_path / "plan.py")), output)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_a_diverged_run_is_not_chosen_and_is_reported(plan, output, calls, monkeypatch, tmp_path):
    with pytest.raises(DivergenceError) as caught:
        check_finite({"loss_ce": torch.tensor(float("nan"))}, iteration=3)
    whole = runs._call

    def diverging(command, jobs):
        _, status = whole(command, jobs)
        if "optimizer.lr=0.1" in command:
            return f"a warning\nerror: {caught.value}\n", 2
        return "", status

    monkeypatch.setattr(runs, "_call", diverging)
    outcomes = perform(plan, output)
    assert final_folders(outcomes)[2:] == ["bpt/seed_3", "bpt/seed_4"]
    assert outcomes[-1].run.choice == {"optimizer.lr": 0.01}
    write_report(plan, outcomes, tmp_path / "results.md", output, "python tools/compare.py")
    assert "lr 0.1: no value; lr 0.01: 4.00" in (tmp_path / "results.md").read_text()


def test_a_failed_run_ends_the_comparison_with_its_command_and_its_line(plan, output, monkeypatch):
    monkeypatch.setattr(runs, "_call", lambda *_: ("noise\nerror: no images; add some.\n", 2))
    text = r"tools/train_cls.py --config-file b.py .* ended with status 2: error: no images; add"
    with pytest.raises(InputError, match=text):
        perform(plan, output)
    assert not list(output.rglob("metrics.json"))


@pytest.fixture
def heeded_interrupts():
    """A shell may have started the tests in the background, where it has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interrupts")
@pytest.mark.parametrize("has_failed", [False, True])
def test_an_interrupt_ends_the_runs(plan, output, monkeypatch, tmp_path, has_failed):
    os.mkfifo(tmp_path / "begun")
    code = "import signal; open('begun', 'w').close(); signal.pause()"
    made, statuses = [], []

    def call(command, jobs):
        made.append(command)
        if len(made) == 1 and has_failed:
            return "error: no", 2
        lines, status = children.call([sys.executable, "-c", code], cwd=tmp_path, env=os.environ)
        statuses.append(status)
        return lines, status

    def interrupt():
        (tmp_path / "begun").read_text()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    monkeypatch.setattr(runs, "_call", call)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        perform(plan, output, jobs=2 if has_failed else 1)
    thread.join()
    assert statuses == [-signal.SIGTERM]
    assert len(made) == 1 + has_failed


def test_when_every_run_of_a_method_diverges_the_next_step_is_said(plan, output, calls):
    outcomes = perform(plan, output)
    failed = [
        runs.Outcome(o.run, runs.Result(None, {}, 1, 1.0)) for o in outcomes if not o.run.is_final
    ]
    with pytest.raises(
        InputError, match="every run of bpt diverged, or has no val/top1; give it lower"
    ):
        runs.choose(plan, plan.methods[1], failed)


def test_the_report_has_means_and_spreads_and_keeps_other_sections(plan, output, calls, tmp_path):
    report = tmp_path / "docs/results.md"
    report.parent.mkdir()
    report.write_text(
        "# Results\n\nBefore.\n<!-- birds: begin -->\nold\n<!-- birds: end -->\nAfter.\n"
    )
    outcomes = perform(plan, output)
    for _ in range(2):  # the second time changes nothing
        write_report(plan, outcomes, report, output, "python tools/compare.py --plan x")
        text = report.read_text()
        assert text.startswith("# Results\n\nBefore.\n") and text.endswith("After.\n")
        assert text.count("<!-- birds: begin -->") == 1 and "old" not in text
    commands = "    python prepare.py\n    python tools/compare.py --plan x\n"
    assert f"## Birds\n\nWhat this is.\n\n{commands}" in text
    row = next(line for line in text.splitlines() if line.startswith("| BPT"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # values of the seeds 3 and 4 at lr 0.1: 12 and 13 on test, 11 and 12 at the end on val
    assert cells == ["BPT", "1,234", "lr 0.1", "12.50 ± 0.71", "11.50 ± 0.71", "10"]
    assert "no choice" in text and "lr 0.1: 13.00; lr 0.01: 4.00" in text
    assert Image.open(report.parent / "results_birds.png").size == (800, 450)


def test_a_new_report_begins_with_its_heading(plan, output, calls, tmp_path):
    write_report(plan, perform(plan, output), tmp_path / "new.md", output, "command")
    assert (tmp_path / "new.md").read_text().startswith("# Results\n\n<!-- birds: begin -->\n")


def test_a_selecting_metric_that_no_run_has_is_named(plan, output, calls):
    perform(plan, output)
    with pytest.raises(InputError, match="holds no val/top9; correct plan.select"):
        read_result("val/top9", output / "bpt/seed_3")


def test_statistics_are_collected_once_before_the_runs(tmp_path, output, calls, monkeypatch):
    text = PLAN.replace('settings={"train.epochs": 3}', 'statistics="tokens"')
    path = output / "statistics/tokens.safetensors"
    (tmp_path / "plan.py").write_text(text)
    whole = runs._call
    collected = []

    def call(command, jobs):
        if command[0] != "tools/collect_statistics.py":
            return whole(command, jobs)
        assert not calls
        collected.append(command)
        path.parent.mkdir(parents=True)
        path.touch()
        return "", 0

    monkeypatch.setattr(runs, "_call", call)
    plan = load_plan(str(tmp_path / "plan.py"))
    perform(plan, output)
    perform(plan, output)
    assert len(collected) == 1
    named = f"model.backbone.statistics={path}"
    assert named in collected[0]
    assert [named in command for command in calls] == ["b.py" in command for command in calls]


def test_every_command_is_logged(plan, output, calls, caplog):
    with caplog.at_level(logging.INFO):
        perform(plan, output)
    assert caplog.text.count("$ python tools/train_cls.py --config-file") == len(calls) == 6
