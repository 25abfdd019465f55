"""Experiment runner: which runs are executed, resumed and refused; the program is a stand-in."""

import json
import logging
import os
import signal
import threading

import pytest

from bpt_det.comparison import load_experiment, run_experiment
from bpt_det.comparison.runner import build_arguments
from bpt_det.engine.stopping import RunStopped
from bpt_det.utils.errors import InputError
from tests.support.plans import PLAN


@pytest.fixture
def load(tmp_path):
    """Load the plan with a part of its text replaced."""

    def load(old="", new=""):
        assert old in PLAN
        (tmp_path / "plan.py").write_text(PLAN.replace(old, new))
        return load_experiment(str(tmp_path / "plan.py"))

    return load


def read_status(output):
    return json.loads((output / "result.json").read_text())["status"]


def test_a_run_is_a_command_with_the_method_first_and_the_settings_of_all_levels(load, output):
    experiment = load()
    method = experiment.methods[1]
    run = experiment.grid_runs(method)[1]
    assert run.folder == "bpt/grid/lr_0.01"
    assert build_arguments(experiment, run, output) == [
        *("train-cls", "--config-file", "b.py", "method=bpt_s", "data='folder:/birds'"),
        *("train.epochs=3", "model.backbone.placement=[0, 2]", "optimizer.lr=0.01"),
        *("dataloader.final_test=null", "train.seed=3", f"train.output_dir={output}/{run.folder}"),
    ]
    final = experiment.final_runs(method, {"optimizer.lr": 0.1})[1]
    words = build_arguments(experiment, final, output)
    assert "train.seed=4" in words and "dataloader.final_test=null" not in words


def test_the_point_with_the_best_selecting_metric_is_run_with_every_seed(load, output, program):
    results = run_experiment(load(), output, program.words)
    assert [(r.run.folder, r.run.is_final) for r in results] == [
        *(("bpt/grid/lr_0.1", False), ("bpt/grid/lr_0.01", False)),
        *(("linear/seed_3", True), ("linear/seed_4", True)),
        *(("bpt/seed_3", True), ("bpt/seed_4", True)),
    ]
    assert [r.run.point["optimizer.lr"] for r in results[2:]] == [0.5, 0.5, 0.1, 0.1]
    final = results[4]
    assert final.selected == 13.0  # the best, not the last
    assert (final.num_trained, final.seconds, final.status) == (1234, 10.0, "finished")
    content = json.loads((output / "result.json").read_text())
    assert (content["status"], content["experiment"]) == ("finished", "birds")
    assert content["runs"][4]["run"] == "bpt/seed_3"
    assert content["runs"][4]["metrics"] == {"val/top1": 11.0, "test/top1": 12.0}


def interrupt(folder, checkpoint):
    """Leave a finished run as an interruption would have left it."""
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "status": "running"}))
    (folder / "last_checkpoint").write_text(checkpoint)


def test_ended_runs_are_not_repeated_and_an_interrupted_one_is_resumed(load, output, program):
    first = run_experiment(load(), output, program.words)
    interrupt(output / "bpt/seed_4", "model_0000009.pth")
    program.behave({})
    assert run_experiment(load(), output, program.words, jobs=2) == first
    (call,) = program.calls
    assert call[-1] == "--resume" and "train.seed=4" in call
    assert run_experiment(load(), output, program.words) == first  # with --resume in its command
    assert len(program.calls) == 1


@pytest.mark.parametrize("content", [None, "", '{"status": "runn'])
def test_a_run_without_a_readable_result_is_resumed(load, output, program, content):
    first = run_experiment(load(), output, program.words)
    path = output / "bpt/seed_4/result.json"
    path.unlink() if content is None else path.write_text(content)
    program.behave({})
    assert run_experiment(load(), output, program.words) == first
    (call,) = program.calls
    assert call[-1] == "--resume" and "train.seed=4" in call


@pytest.mark.parametrize(("behavior", "status"), [("preempt", "preempted"), ("int", "interrupted")])
def test_a_run_that_is_stopped_stops_the_comparison(load, output, program, behavior, status):
    program.behave({"train.seed=4": behavior})
    with pytest.raises(RunStopped, match="was stopped: out of time") as stopped:
        run_experiment(load(), output, program.words)
    assert stopped.value.status == read_status(output) == status


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_runs_of_other_settings_are_refused_and_left_alone(load, output, program, is_interrupted):
    run_experiment(load(), output, program.words)
    if is_interrupted:
        interrupt(output / "bpt/grid/lr_0.1", "model_0000009.pth")
    runs = {path: path.read_bytes() for path in output.glob("*/**/*") if path.is_file()}
    program.behave({})
    with pytest.raises(InputError, match=r"another run .* \(train.epochs=5\); choose another out"):
        run_experiment(load('"train.epochs": 3', '"train.epochs": 5'), output, program.words)
    assert not program.calls
    assert {path: path.read_bytes() for path in output.glob("*/**/*") if path.is_file()} == runs
    assert read_status(output) == "failed"


def test_another_selecting_metric_is_read_from_the_runs_that_exist(load, output, program):
    run_experiment(load(), output, program.words)
    program.behave({})
    results = run_experiment(load('"val/top1"', '"test/top1"'), output, program.words)
    assert not program.calls
    assert results[0].selected == 12.0


def test_a_selecting_metric_that_no_run_has_is_named(load, output, program):
    with pytest.raises(InputError, match="holds no val/top9; correct plan.select"):
        run_experiment(load('"val/top1"', '"val/top9"'), output, program.words)


@pytest.mark.parametrize("behavior", ["diverge", "predict nothing"])
def test_a_run_without_a_value_is_not_chosen(load, output, program, behavior):
    program.behave({"optimizer.lr=0.1": behavior})
    results = run_experiment(load(), output, program.words)
    assert results[0].selected is None
    assert results[-1].run.point == {"optimizer.lr": 0.01}
    program.behave({})
    assert run_experiment(load(), output, program.words) == results  # nor is it run again
    assert not program.calls


def test_when_no_run_of_a_method_has_a_value_the_next_step_is_said(load, output, program):
    program.behave({"b.py": "diverge"})
    with pytest.raises(InputError, match="every run of bpt diverged, or has no val/top1; give it"):
        run_experiment(load(), output, program.words)


def test_a_failed_run_ends_the_comparison_with_its_command_and_its_error(load, output, program):
    program.behave({"b.py": "fail"})
    with pytest.raises(InputError, match=r"train-cls --config-file b.py .* 1: the card is full$"):
        run_experiment(load(), output, program.words)
    assert not list(output.glob("bpt/**/metrics.json"))
    assert read_status(output) == "failed"


def test_what_is_refused_before_a_run_begins_is_quoted_from_stderr(load, output, program):
    program.behave({"b.py": "fail"})
    with pytest.raises(InputError, match="the card is full"):
        run_experiment(load(), output, program.words)
    program.behave({"b.py": "refuse"})  # the result.json is that of the failure before
    with pytest.raises(
        InputError, match="status 1: a warning error: no images; add some"
    ) as caught:
        run_experiment(load(), output, program.words)
    assert "the card is full" not in str(caught.value)


@pytest.fixture
def heeded_interrupts():
    """A shell may have started the tests in the background, where it has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interrupts")
@pytest.mark.parametrize("has_failed", [False, True])
def test_an_interrupt_terminates_the_runs(load, output, program, has_failed):
    begun = program.folder / "begun"
    os.mkfifo(begun)
    other = "refuse" if has_failed else "hang"
    program.behave({"optimizer.lr=0.1": other, "optimizer.lr=0.01": "hang"})

    def interrupt():
        begun.read_text()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_experiment(load(), output, program.words, jobs=2 if has_failed else 1, only=["bpt"])
    thread.join()
    # Nothing was begun after the failure; the failing run may have been ended as it began.
    assert 1 <= len(program.calls) <= 1 + has_failed
    assert read_status(output) == "interrupted"


def test_statistics_are_collected_once_before_the_runs(load, output, program):
    experiment = load('settings={"train.epochs": 3}', 'statistics="tokens"')
    path = output / "statistics/tokens.safetensors"
    run_experiment(experiment, output, program.words)
    run_experiment(experiment, output, program.words)
    collected, *runs = program.calls
    named = f"train.prompt_statistics={path}"
    assert collected[:4] == ["stats", "--config-file", "b.py", "method=bpt_s"]
    assert named in collected and path.is_file()
    assert len(runs) == 6
    assert [named in words for words in runs] == ["b.py" in words for words in runs]


def test_every_command_is_logged(load, output, program, caplog):
    with caplog.at_level(logging.INFO):
        run_experiment(load(), output, program.words)
    assert caplog.text.count("$ bpt-det train-cls --config-file") == len(program.calls) == 6


def orders(program):
    """Folder of every run below that of the comparison, in the order of the calls."""
    runs = [call for call in program.calls if call[0] != "stats"]
    named = [word for call in runs for word in call if word.startswith("train.output_dir=")]
    return [name.strip("'").partition("/runs/")[2] for name in named]


def test_a_method_is_run_to_its_end_before_the_next_begins(load, output, program):
    run_experiment(
        load('"linear": dict(', '"linear": dict(seeds=[4, 3, 5],'), output, program.words
    )
    assert orders(program) == [
        *("linear/seed_4", "linear/seed_3", "linear/seed_5"),
        *("bpt/grid/lr_0.1", "bpt/grid/lr_0.01", "bpt/seed_3", "bpt/seed_4"),
    ]


def test_each_point_is_chosen_by_the_mean_of_its_folds(load, output, program):
    """lr 0.01 wins by the mean, as 0.1 has no value in one of its folds."""
    experiment = load("curves=[", "folds=3, curves=[")
    program.behave({"dataloader.fold=2/3": "diverge"})
    with pytest.raises(InputError, match="every run of bpt diverged"):
        run_experiment(experiment, output, program.words)
    assert orders(program)[2:5] == [f"bpt/grid/lr_0.1/fold_{i}_of_3" for i in (1, 2, 3)]
    (output / "bpt/grid/lr_0.01/fold_2_of_3/result.json").unlink()
    program.behave({})
    results = run_experiment(experiment, output, program.words)
    assert results[-1].run.point == {"optimizer.lr": 0.01}
    assert [word for word in program.calls[0] if "fold" in word][-1].endswith("fold_2_of_3")
    assert "dataloader.fold=2/3" in program.calls[0]
    assert not any("dataloader.fold" in word for call in program.calls[1:] for word in call)


@pytest.mark.parametrize(
    ("grid", "end"),
    [
        *(("[0.01, 0.2, 0.1]", "0.2"), ("[0.2, 0.1, 0.01]", "0.2")),
        ("[0.3, 0.01, 0.4]", "0.01"),  # the others diverge
        ("[0.01, 0.2]", None),
    ],
)
def test_a_choice_at_the_end_of_its_grid_is_warned_of(load, output, program, caplog, grid, end):
    """Of two values each is at an end, so that nothing is said."""
    program.behave({"optimizer.lr=0.3": "diverge", "optimizer.lr=0.4": "diverge"})
    experiment = load("[0.1, 0.01]", grid)
    run_experiment(experiment, output, program.words)
    warning = f"bpt: optimizer.lr={end} was chosen, at the end of its grid"
    assert caplog.text.count("at the end of its grid") == (end is not None)
    assert (warning in caplog.text) == (end is not None)


def test_a_choice_within_its_grid_is_not_warned_of(load, output, program, caplog):
    program.behave({"optimizer.lr=0.3": "diverge"})
    results = run_experiment(load("[0.1, 0.01]", "[0.1, 0.3, 0.01]"), output, program.words)
    assert results[-1].run.point == {"optimizer.lr": 0.1}
    assert "at the end of its grid" not in caplog.text


def test_the_last_value_counts_where_the_plan_says_so(load, output, program):
    results = run_experiment(load("curves=[", "select_last=True, curves=["), output, program.words)
    assert [result.selected for result in results[:2]] == [11.0, 2.0]


def test_parts_share_a_folder_and_the_last_one_has_all_results(load, output, program):
    reported = []
    run_experiment(load(), output, program.words, only=["bpt"], report=reported.append)
    assert {run.partition("/")[0] for run in orders(program)} == {"bpt"}
    assert [result.run.method.name for result in reported[-1]] == ["bpt"] * 4
    program.behave({})
    results = run_experiment(load(), output, program.words, only=["linear"])
    assert orders(program) == ["linear/seed_3", "linear/seed_4"]
    program.behave({})
    assert run_experiment(load(), output, program.words) == results
    assert not program.calls


def test_each_result_is_logged_with_the_time_that_the_others_will_take(
    load, output, program, caplog
):
    """A run of the stand-in takes 1800 s: six of them, less those that have ended."""
    with caplog.at_level(logging.INFO):
        run_experiment(load(), output, program.words)
    left = [line.rpartition("; ")[2] for line in caplog.messages if " left" in line]
    assert left == [
        *("1 of 6 runs, about 2 h 30 min left", "2 of 6 runs, about 2 h 0 min left"),
        *("3 of 6 runs, about 1 h 30 min left", "4 of 6 runs, about 1 h 0 min left"),
        *("5 of 6 runs, about 30 min left", "6 of 6 runs, about 0 min left"),
    ]


def test_settings_of_the_command_line_replace_those_of_the_plan_alone(load, output):
    experiment = load().with_overrides(["train.epochs=7", "model.pixel_mean=[1,2,3]", "data=a b"])
    words = [
        build_arguments(experiment, experiment.final_runs(method, {"optimizer.lr": 0.1})[0], output)
        for method in experiment.methods
    ]
    assert "train.epochs=7" in words[0] and "train.epochs=3" in words[1]
    assert all({"model.pixel_mean=[1,2,3]", "data=a b"} <= set(w) for w in words)
    with pytest.raises(InputError, match="override 'x' is not of the form key=value"):
        load().with_overrides(["x"])


def test_final_runs_trained_on_the_validation_images_are_read_by_what_is_reported(
    load, output, program
):
    settings = 'final_settings={"dataloader.train.dataset.split": "trainval"}, curves=['
    results = run_experiment(load("curves=[", settings), output, program.words)
    assert [result.selected for result in results[2:]] == [52.0, 53.0, 12.0, 13.0]
