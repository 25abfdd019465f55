"""Dispatch of commands: the table, the list of commands, unknown names, lazy imports."""

import importlib
import os
import runpy
import shlex
import subprocess
import sys

import pytest

import bpt_det
from bpt_det.cli.app import main
from bpt_det.cli.commands import COMMANDS, invocation
from bpt_det.config import load_config
from tests.support.paths import ROOT, TOOLS


def test_every_module_is_a_command_and_every_command_has_a_tool():
    modules = {path.stem for path in (ROOT / "bpt_det/cli").glob("*.py")}
    shared = {"__init__", "__main__", "app", "arguments", "commands", "hints", "launch"}
    shared |= {"logs", "run_result", "tasks"}
    assert modules - shared == {name.replace("-", "_") for name in COMMANDS}
    tools = {path.stem for path in TOOLS.glob("*.py")}
    assert {command.tool for command in COMMANDS.values()} <= tools


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_a_tool_runs_the_main_function_of_its_command(command):
    text = (TOOLS / f"{command.tool}.py").read_text()
    assert f'main = command("{command.name}")\n' in text
    assert f"``bpt-det {command.name}``" in text


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_the_example_of_a_command_is_accepted_by_its_parser(command):
    parser = importlib.import_module(command.module).build_parser()
    words = shlex.split(command.example)
    takes_command = "--" in words  # what is behind it is for another parser
    args = (parser.parse_args if takes_command else parser.parse_intermixed_args)(words)
    config = getattr(args, "config_file", None)
    if config and not config.startswith("run/"):
        assert load_config(config, getattr(args, "opts", ())).train.output_dir


def test_the_help_lists_every_command_with_its_summary(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS.values():
        assert any(line.split() == [command.name, *command.summary.split()] for line in lines)
        assert not command.example or f"      bpt-det {command.name} {command.example}" in lines
        assert f"{command.group}:" in lines


@pytest.mark.parametrize(
    ("argument", "nearest"),
    [("trian", "train"), ("statistics", "stats"), ("demo-clss", "demo-cls")],
)
def test_an_unknown_command_is_one_line_with_the_nearest_name(argument, nearest, capsys):
    assert main([argument]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"'{argument}'" in line and f"'{nearest}'" in line


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"bpt-det {bpt_det.__version__}\n"


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bpt_det.cli", "--version"])
    runpy.run_module("bpt_det.cli.__main__", run_name="__mp_main__")  # as a process of a command
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("bpt_det.cli", run_name="__main__")
    assert capsys.readouterr().out == f"bpt-det {bpt_det.__version__}\n"


def test_no_command_is_bad_input(capsys):
    assert main([]) == 2
    assert "usage: bpt-det COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    text = capsys.readouterr().out
    assert f"usage: bpt-det {name} " in text and text.count(f"bpt-det {name}") >= 2


def test_an_underscore_in_a_name_is_a_dash(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train_cls", "--help"])
    assert "usage: bpt-det train-cls" in capsys.readouterr().out


def test_the_list_of_commands_imports_none_of_them(tmp_path):
    code = (
        "import sys; from bpt_det.cli.app import main; main(['--help']); main(['nothing']); "
        "assert not {'torch', 'detectron2', 'bpt_det.cli.train'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_imports_no_torch(name):
    code = (
        "import sys; from bpt_det.cli.app import main\n"
        f"try: main(['{name}', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'timm', 'detectron2', 'omegaconf', 'cv2', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def _run_unread(code):
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as stdout:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )


@pytest.mark.parametrize(
    "code",
    [
        "import sys; from bpt_det.cli.app import main; sys.exit(main(['--help']))",
        "import sys; from bpt_det.cli.app import main; sys.exit(main(['doctor', '--help']))",
        "import runpy, sys; sys.argv = ['x', '--help']; "
        "runpy.run_path('tools/doctor.py', run_name='__main__')",
    ],
)
def test_a_stdout_that_nobody_reads_is_no_traceback(code):
    result = _run_unread(code)
    assert (result.returncode, result.stderr) == (141, "")


def test_another_broken_pipe_keeps_its_traceback():
    code = (
        "from bpt_det.cli import app; from unittest import mock\n"
        "app.run_command = mock.Mock(side_effect=BrokenPipeError); app.main(['doctor'])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and "BrokenPipeError" in result.stderr


@pytest.mark.parametrize(
    ("called", "run", "expected"),
    [
        ("bpt-det", "sys.exit(main(['train']))", "bpt-det setup-detectron2"),
        (
            "tools/predict.py",
            "runpy.run_path('tools/predict.py', run_name='__main__')",
            "python tools/install_detectron2.py",
        ),
    ],
)
def test_without_detectron2_a_command_says_in_one_line_how_to_install_it(called, run, expected):
    arguments = "--config-file x --input x --output x".split() if "tools" in called else []
    code = (
        "import runpy, sys; from bpt_det.cli.app import main; sys.modules['detectron2'] = None; "
        f"sys.argv = [{called!r}, *{arguments}]; {run}"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == f"error: detectron2 is not installed; run `{expected}`.\n"


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("tools/train_net.py", "python tools/collect_statistics.py"),
        ("train_cls.py", "python collect_statistics.py"),
        ("/a/my clone/tools/predict.py", "python '/a/my clone/tools/collect_statistics.py'"),
        ("/site-packages/bpt_det/cli/__main__.py", "python -m bpt_det.cli stats"),
        ("/usr/bin/bpt-det", "bpt-det stats"),
        ("/elsewhere/train.py", "bpt-det stats"),
    ],
)
def test_a_command_is_named_in_the_way_in_which_this_one_was_called(called, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called, "x"])
    assert invocation("stats") == expected
