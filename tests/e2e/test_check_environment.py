"""Tests of the check that OpenCV finds its system libraries."""

import importlib

import pytest

from tests.support.paths import TOOLS


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("check_environment")


def raiser(text):
    def load():
        raise ImportError(text)

    return load


@pytest.mark.parametrize("library", ["libGL.so.1", "libgthread-2.0.so.0"])
def test_a_missing_system_library_suggests_the_headless_build(tool, library):
    text = f"{library}: cannot open shared object file: No such file or directory"
    problem = tool.opencv_problem(raiser(text))
    assert text in problem
    assert "make setup OPENCV=opencv-python-headless" in problem
    assert "pip install opencv-python-headless" in problem


def test_a_missing_opencv_suggests_installing_it(tool):
    problem = tool.opencv_problem(raiser("No module named 'cv2'"))
    assert problem == "OpenCV cannot be imported (No module named 'cv2'): pip install opencv-python"


def test_a_problem_is_one_line_and_a_failure(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool, "opencv_problem", lambda: "OpenCV lacks a system library")
    assert tool.main([]) == 1
    assert capsys.readouterr().err == "error: OpenCV lacks a system library\n"


def test_the_help_ends_with_an_example(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["--help"])
    assert stop.value.code == 0
    assert "Example: python tools/check_environment.py" in capsys.readouterr().out
