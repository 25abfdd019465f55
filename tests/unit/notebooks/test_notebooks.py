"""Notebooks as they are committed: with outputs, small, and without a trace of a machine."""

import json
import re

import pytest

from tests.support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 500_000
AN_ABSOLUTE_PATH = re.compile(r"/(home|root|tmp|usr|work|Users|opt|var|mnt)/|\b[A-Z]:\\")


def load(path):
    return json.loads(path.read_text())


def texts_of(output):
    """Every text in an output of a cell; pictures are left out."""
    for key, value in output.items():
        if isinstance(value, dict):
            yield from texts_of(value)
        elif not key.startswith("image/"):
            yield "".join(value) if isinstance(value, list) else str(value)


def test_there_are_the_three_demos_of_the_paper_and_the_way_to_a_service():
    expected = {"distributions", "classification", "detection", "own_data"}
    assert {path.stem for path in NOTEBOOKS} == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_was_executed_from_top_to_bottom(path):
    assert path.stat().st_size <= MAX_BYTES
    cells = [cell for cell in load(path)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/png" in str(o) or "image/jpeg" in str(o) for o in outputs) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_holds_a_path_a_warning_or_an_error(path):
    for cell in load(path)["cells"]:
        assert cell["metadata"] == {}
        for output in cell.get("outputs", ()):
            assert output["output_type"] in ("display_data", "execute_result"), output
            for text in texts_of(output):
                assert not AN_ABSOLUTE_PATH.search(text), text


@pytest.mark.parametrize("text", ["/home/me/x", "'/tmp/a.json'", r"C:\Users", "file:///root/a"])
def test_paths_of_a_machine_are_recognized(text):
    assert AN_ABSOLUTE_PATH.search(text)
