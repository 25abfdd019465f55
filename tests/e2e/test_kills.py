"""A run that is killed anywhere and resumed ends as one that nothing has interrupted.

`make test` kills at some file-system events. `make test-all` kills at every one (about 8 minutes on
a busy core), at 200 random times (5 minutes), and at some of a detector, a classifier and an
autoencoder (7 minutes).
"""

import os
import random
import shutil
import signal
import time

import pytest
import torch

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.classification import use_classification_data
from bpt_det.config import load_config
from bpt_det.engine import read_result
from bpt_det.engine.metrics import read_records
from bpt_det.engine.run import Trainer
from bpt_det.pretraining import use_pretraining_data
from tests.support import class_trees
from tests.support.detectors import shrink, use_shapes
from tests.support.kills import Run, wait_for
from tests.support.regression import Regression, regression_config


@pytest.fixture(scope="module", autouse=True)
def _environment(repository_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository_root)
        patch.setenv("BPT_DET_TRUST", "tests")  # its model
        yield


def regression(folder, **settings):
    """A run with averages, evaluations beside the checkpoints, and a final test."""
    cfg = regression_config(folder / "x", final_test=True)
    cfg.train.update(max_iter=12, eval_period=4, log_period=3, curves=None)
    cfg.train.checkpointer.period = 2
    cfg.train.ema.decay = 0.9
    cfg.train.update(settings)
    return Run(folder / "work", cfg)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The uninterrupted run, and its number of file-system events."""
    run = regression(tmp_path_factory.mktemp("kills"))
    return run, run.make_reference()


@pytest.fixture(scope="module")
def stopped_early(tmp_path_factory):
    """A run that early stopping ends, and its number of file-system events."""
    run = regression(tmp_path_factory.mktemp("early"), early_stopping={"patience": 1})
    run.cfg.optimizer.lr = 0.9  # too high: it gets worse
    run.__post_init__()
    return run, run.make_reference()


def kill_at(run, event):
    run.clean()
    assert run.run(kill_at=event) == -signal.SIGKILL
    run.finish(1)
    assert run.differences() == []


def test_a_kill_between_result_and_report_leaves_no_run_without_one(tmp_path):
    run = regression(tmp_path, report=True)
    run.make_reference()
    events = (run.folder / "events.txt").read_text().splitlines()
    kill_at(run, 1 + next(i for i, event in enumerate(events) if "report.html" in event))
    assert (run.output / "report.html").is_file()


SAMPLE, NUM_KILLS = 8, 200  # kills of `make test`; at random times, of `make test-all`


@pytest.mark.parametrize("number", range(SAMPLE))
def test_a_kill_at_some_file_system_events(straight, number):
    run, num_events = straight
    kill_at(run, 1 + (2 * number + 1) * num_events // (2 * SAMPLE))


@pytest.mark.parametrize("number", [2, 3])
def test_a_kill_of_a_run_that_stops_early(stopped_early, number):
    run, num_events = stopped_early
    assert read_result(run.reference).status == "stopped_early"
    kill_at(run, num_events * number // 4)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["straight", "stopped_early"])
def test_a_kill_at_every_file_system_event(which, request):
    run, num_events = request.getfixturevalue(which)
    for event in range(1, num_events + 1):
        kill_at(run, event)


@pytest.mark.slow
def test_chains_of_kills_at_random_times(straight):
    """Iterations and writes take some time, so that kills fall into all of them."""
    run, _ = straight
    chance = random.Random(0)
    num_kills = 0
    while num_kills < NUM_KILLS:
        run.clean()
        for part in range(60):
            pid = run.start(*["--resume"] * (part > 0), prepare=slow_down)
            time.sleep(chance.uniform(0.05, 2.5))
            os.kill(pid, signal.SIGKILL)
            status = wait_for(pid)
            if run.has_ended(status):
                break
            assert status == -signal.SIGKILL, run.log.read_text()
            num_kills += 1
        else:
            run.finish(2)
        assert run.differences() == []


def slow_down():
    step, save = Trainer.run_step, torch.save

    def slow_step(self):
        time.sleep(0.03)
        step(self)

    def slow_save(content, file):
        save(content, file)
        time.sleep(0.03)

    Trainer.run_step, torch.save = slow_step, slow_save


def detection(folder, shapes_root):
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.update(max_iter=6, eval_period=4, log_period=2)
    return cfg


def classification(folder, shapes_root):
    root = class_trees.write_cub(folder / "CUB_200_2011")
    settings = ["method=bpt_s", f"dataloader.root={root}", "dataloader.image_size=16"]
    settings += ["dataloader.resize_size=18", "dataloader.train.total_batch_size=3"]
    settings += ["dataloader.train.num_workers=2", "dataloader.test.num_workers=0"]
    vit = {"embed_dim": 16, "num_blocks": 2, "num_heads": 2, "patch_size": 8, "pretrain_size": 16}
    settings += [f"model.backbone.vit.{key}={value}" for key, value in vit.items()]
    settings += ["model.backbone.vit.checkpoint=null", "model.backbone.prompt.prompt_length=4"]
    settings += ["model.backbone.prompt.rank=2", "train.max_iter=6", "train.eval_period=4"]
    cfg = load_config("configs/fgvc/cub.py", settings)
    use_classification_data(cfg, settings)
    return cfg


def pretraining(folder, shapes_root):
    settings = [f"data={shapes_root}/train", "train.max_iter=6", "train.eval_period=4"]
    settings += ["dataloader.train.num_workers=0", "dataloader.test.num_workers=0"]
    settings += ["dataloader.train.total_batch_size=2"]
    cfg = load_config("configs/shapes/mae_micro.py", settings)
    use_pretraining_data(cfg, settings)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize("task", [detection, classification, pretraining])
def test_a_kill_of_every_task(task, tmp_path, shapes_root):
    cfg = task(tmp_path, shapes_root)
    cfg.train.checkpointer.period = 2
    cfg.train.curves = None
    cfg.train.device = "cpu"
    run = Run(tmp_path / "work", cfg)
    num_events = run.make_reference()
    for event in range(3, num_events + 1, max(1, num_events // 12)):
        kill_at(run, event)


STATUSES = {"SIGTERM": 75, "SIGUSR1": 75, "SIGHUP": 75, "SIGINT": 130}
EXIT_NAMES = {75: "preempted", 130: "interrupted"}


def wait_for_records(run, count):
    while len(list(read_records(run.output / "metrics.json"))) < count:
        time.sleep(0.005)


def slow_steps():
    step = Trainer.run_step

    def slow_step(self):
        time.sleep(0.05)
        step(self)

    Trainer.run_step = slow_step


@pytest.mark.parametrize("name", STATUSES)
def test_a_signal_ends_a_run_with_a_checkpoint_of_its_last_iteration(straight, name):
    run, _ = straight
    run.clean()
    pid = run.start("train.checkpointer.period=1000", prepare=slow_steps)
    wait_for_records(run, 1)
    os.kill(pid, signal.Signals[name])
    assert wait_for(pid) == STATUSES[name]
    result = read_result(run.output)
    assert (result.status, result.error) == (EXIT_NAMES[STATUSES[name]], None)
    (path,) = run.output.glob("model_0*.pth")
    assert int(path.stem[-7:]) + 1 == result.iterations < 12
    last = run.log.read_text().splitlines()[-1]
    assert last.startswith(f"{result.status}: stopped by ") and str(path) in last
    assert last.endswith("Continue with --resume.")
    shutil.rmtree(run.output) if name == "SIGINT" else run.finish(1)
    assert name == "SIGINT" or run.differences() == []


def slow_evaluation():
    forward = Regression.forward

    def slow_forward(self, batch):
        time.sleep(0 if self.training else 0.5)
        return forward(self, batch)

    Regression.forward = slow_forward


def test_a_signal_ends_an_evaluation_which_is_done_after_the_resume(straight):
    run, _ = straight
    run.clean()
    pid = run.start("train.checkpointer.period=1000", prepare=slow_evaluation)
    wait_for_records(run, 1)
    time.sleep(0.3)  # in the first evaluation, which takes 1.5 s
    os.kill(pid, signal.SIGTERM)
    assert wait_for(pid) == 75
    assert [path.name for path in run.output.glob("*.pth")] == ["model_0000003.pth"]
    assert not read_result(run.output).metrics["last"]
    run.finish(1)
    assert run.differences() == []


def test_a_second_signal_ends_a_run_at_once(straight):
    run, _ = straight
    run.clean()
    pid = run.start(prepare=lambda: setattr(Trainer, "run_step", lambda self: time.sleep(60)))
    while not (run.output / "config.yaml").is_file():
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.8)
    os.kill(pid, signal.SIGTERM)
    start = time.monotonic()
    assert wait_for(pid) == -signal.SIGTERM
    assert time.monotonic() - start < 5
    run.finish(1)
    assert run.differences() == []


def test_a_run_that_is_out_of_time_can_be_resumed(straight):
    run, _ = straight
    run.clean()
    pid = run.start(f"train.max_time={0.5 / 3600}", prepare=slow_steps)
    assert wait_for(pid) == 75
    assert read_result(run.output).status == "time_limit"
    assert "time_limit: stopped by train.max_time: " in run.log.read_text()
    run.finish(1)
    assert run.differences() == []


def test_two_runs_do_not_write_into_one_folder(straight):
    run, _ = straight
    run.clean()
    pid = run.start(prepare=slow_steps)
    wait_for_records(run, 1)
    assert run.run("--resume") == 2
    assert f"another run writes to '{run.output}': process {pid} on " in run.log.read_text()
    assert wait_for(pid) == 0
    assert run.differences() == []
    written = {p: p.read_bytes() for p in run.output.rglob("*") if p.is_file()}
    assert run.run("--resume") == run.run() == 2  # it has ended, and is a run
    assert {p: p.read_bytes() for p in written if p.name != "log.txt"} == {
        p: content for p, content in written.items() if p.name != "log.txt"
    }
