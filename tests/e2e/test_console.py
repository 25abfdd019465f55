"""What a user sees of the commands: how much, in which form, and where the rest is."""

import os
import pty
import re
import subprocess
import sys
import threading

import pytest
from detectron2.config import LazyConfig

from bpt_det.cli import train, train_cls
from bpt_det.cli.visualize import main as visualize
from bpt_det.config import load_config
from bpt_det.engine import read_result
from tests.support import class_trees
from tests.support.classifiers import shrink_classifier
from tests.support.detectors import shrink, use_shapes
from tests.support.paths import ROOT

MOST_LINES = 40  # before the first iteration
MOST_LINES_AT_THE_END = 12


@pytest.fixture(scope="module")
def detector(tmp_path_factory, shapes_root):
    """Arguments that train a tiny detector for 4 iterations."""
    cfg = shrink(load_config(str(ROOT / "configs/shapes/cascade_bpt_s.py")))
    cfg = use_shapes(cfg, shapes_root)
    cfg.train.update(max_iter=4, eval_period=4, log_period=2, device="cpu", curves=["bbox/AP"])
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return ["--config-file", str(path)]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Arguments that train a tiny classifier for 3 iterations."""
    cfg = load_config(str(ROOT / "configs/fgvc/cub.py"), ["method=bpt_s"])
    shrink_classifier(cfg, 7)
    cfg.dataloader.root = str(class_trees.write_cub(tmp_path_factory.mktemp("data") / "cub"))
    cfg.train.update(epochs=1, log_period=1)
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return ["--config-file", str(path)]


def in_a_pipe(command, *arguments):
    """Run a command in a process of its own; returns what it writes to stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "bpt_det.cli", command, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def on_a_terminal(monkeypatch, main, arguments):
    """Run a command whose stdout and stderr are a pseudo-terminal; returns what it writes."""
    controller, terminal = pty.openpty()
    written = []

    def read():
        while True:
            try:
                written.append(os.read(controller, 1024))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(terminal, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        status = main(arguments)
    reader.join()
    os.close(controller)
    text = b"".join(written).decode()
    assert status == 0, text
    return text


@pytest.mark.parametrize("command", ["train", "train-cls"])
def test_a_training_in_a_pipe(command, detector, classifier, tmp_path):
    """A summary and plain lines; the rest is in log.txt."""
    arguments = detector if command == "train" else classifier
    folder = tmp_path / "run"
    text = in_a_pipe(command, *arguments, f"train.output_dir={folder}")
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(r"iteration +\d+/\d+ ", line))
    assert first <= MOST_LINES
    assert "\x1b" not in text and "\r" not in text and "it/s]" not in text
    result = read_result(folder)
    summary = "\n".join(lines[:first])
    trained, frozen = result.trained_parameters, result.frozen_parameters
    assert f"{trained:,} trained, {frozen:,} frozen" in summary
    assert f"{result.max_iter} iterations = " in summary
    assert "BilinearPrompt" in summary and "CPU, float32" in summary and str(folder) in summary
    end = lines[lines.index("", first) + 1 :]
    assert len(end) <= MOST_LINES_AT_THE_END
    for name in ("model_best.pth", "curves.png", "result.json", "log.txt"):
        assert any(line.endswith(str(folder / name)) for line in end)
    log = (folder / "log.txt").read_text()
    assert summary.partition("Training\n")[2] in log and "\n".join(end) in log
    assert "\x1b" not in log and "iteration 2/" not in log
    assert "(proj): Conv2d(" in log and "\ntrain:\n" in log  # model and config
    assert "PyTorch built with" in log and "total_loss: " in log


def test_the_command_at_the_end_of_a_training_draws_masks(detector, tmp_path, capsys):
    arguments = [*detector, f"train.output_dir={tmp_path / 'run'}", "--quiet"]
    assert train.main(arguments) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "draw masks" in line]
    assert visualize([*line.partition(" visualize ")[2].split(), "--num-images", "1"]) == 0
    assert (tmp_path / "run/pictures/contact_sheet.png").is_file()


def test_quiet_shows_the_result_alone(classifier, tmp_path, capsys):
    assert train_cls.main([*classifier, "--quiet", f"train.output_dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("Training finished after 3 iterations")
    assert len(lines) <= 1 + MOST_LINES_AT_THE_END
    assert "PyTorch built with" in (tmp_path / "log.txt").read_text()
    best = f"train.init_checkpoint={tmp_path / 'model_best.pth'}"
    evaluation = [*classifier, "--eval-only", best, f"train.output_dir={tmp_path}"]
    assert train_cls.main([*evaluation, "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Evaluation finished"
    top1 = read_result(tmp_path).metrics["final"]["test/top1"]
    assert lines[3].split()[:2] == ["test", f"{top1:.2f}"]
    assert train_cls.main(evaluation) == 0
    assert len(capsys.readouterr().out.splitlines()) <= MOST_LINES


def test_verbose_shows_what_the_log_file_has(classifier, tmp_path, capsys):
    assert train_cls.main([*classifier, "--verbose", f"train.output_dir={tmp_path}"]) == 0
    captured = capsys.readouterr()
    shown = [*captured.out.splitlines(), *captured.err.splitlines()]
    log = (tmp_path / "log.txt").read_text().splitlines()
    assert set(log) == set(shown) and len(log) > 100


def test_an_error_is_one_line_however_much_is_shown(classifier, tmp_path, capsys):
    for option in ("--quiet", "--verbose"):
        assert train_cls.main([*classifier, option, "--eval-only"]) == 2
        err = capsys.readouterr().err.splitlines()
        assert len([line for line in err if line.startswith("error: ")]) == 1


def test_on_a_terminal_bars_show_the_progress(classifier, tmp_path, monkeypatch):
    arguments = [*classifier, f"train.output_dir={tmp_path / 'a'}"]
    text = on_a_terminal(monkeypatch, train_cls.main, arguments)
    assert "training: 100%|" in text and "evaluating:   0%|" in text and ", loss " in text
    assert "iteration 1/3" not in text
    assert not re.search(r"\x1b\[[0-9;]*m", text)  # no color
    log = (tmp_path / "a/log.txt").read_text()
    assert "100%" not in log and "\r" not in log
    arguments = [*classifier, "--quiet", f"train.output_dir={tmp_path / 'b'}"]
    text = on_a_terminal(monkeypatch, train_cls.main, arguments)
    assert "%|" not in text and "Training finished" in text
