"""The README's table of methods says what the configs hold."""

import re

import pytest
import torch
from detectron2.config import instantiate

from bpt_det.engine import load_config
from tests.support.paths import ROOT

_ROW = re.compile(r"^\| `(?P<name>\w+)`(?P<marks>[ ¹²]*)\| (?P<rest>.*) \|$", re.MULTILINE)


def section(title):
    """Return the text below a heading of the README."""
    return (ROOT / "README.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


# name: its marks, and the cells after it
ROWS = {
    row["name"]: (row["marks"], [cell.strip() for cell in row["rest"].split("|")])
    for row in _ROW.finditer(section("Methods"))
}
PROMPTED = [name for name, (_, cells) in ROWS.items() if cells[2]]


def test_the_table_has_a_row_for_every_config():
    leaves = {path.stem for path in (ROOT / "configs/coco").glob("cascade_*.py")}
    of_larger_vits = {f"cascade_bpt_{way}_vit_{size}" for way in "sd" for size in "lh"}
    assert leaves - of_larger_vits == {f"cascade_{name}" for name in ROWS}
    assert of_larger_vits <= leaves
    masked = {path.stem for path in (ROOT / "configs/coco").glob("mask_rcnn_*.py")}
    assert masked == {f"mask_rcnn_{n}" for n, (marks, _) in ROWS.items() if "¹" not in marks}


@pytest.mark.parametrize("name", PROMPTED)
def test_the_table_has_the_number_of_trained_prompt_parameters(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    net = load_config(f"configs/coco/cascade_{name}.py").model.backbone.net
    net.vit.checkpoint = None
    with torch.device("meta"):
        prompts = instantiate(net).prompted_vit.prompts
    count = sum(p.numel() for p in prompts.parameters() if p.requires_grad)
    assert f"{count:,}" == ROWS[name][1][2]


@pytest.mark.parametrize("name", ROWS)
def test_the_table_has_the_published_results_of_the_headers(name):
    for detector, cell in zip(("mask_rcnn", "cascade"), ROWS[name][1][3:], strict=True):
        path = ROOT / f"configs/coco/{detector}_{name}.py"
        if re.fullmatch(r"\d+\.\d+ / \d+\.\d+", cell):
            box, mask = cell.split(" / ")
            assert f"published {box} box AP, {mask} mask AP" in path.read_text()


@pytest.mark.parametrize("name", ROWS)
def test_the_table_marks_what_needs_statistics(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    net = load_config(f"configs/coco/cascade_{name}.py").model.backbone.net
    assert (net.get("statistics") is not None) == ("²" in ROWS[name][0])


CLASSIFIED = {
    name: [cell.strip() for cell in row["rest"].split("|")][2:]
    for row in re.finditer(
        r"^\| (?P<names>`[^|]*) \| (?P<rest>.*) \|$", section("Classification"), re.M
    )
    for name in re.findall(r"`(\w+)`", row["names"])
}
DATA = ("cub", "nabirds", "flowers", "dogs", "cars")


def test_the_classification_table_has_a_row_for_every_method():
    found = {p.stem.partition("_")[2] for p in (ROOT / "configs/fgvc").glob("cub_*.py")}
    assert found - {"bpt_s_moco", "bpt_s_sup"} == set(CLASSIFIED)
    assert all(len(cells) == 6 for cells in CLASSIFIED.values())


@pytest.mark.parametrize("name", CLASSIFIED)
def test_the_classification_table_has_the_published_accuracies_of_the_headers(name):
    leaves = [*(f"fgvc/{data}_{name}" for data in DATA), f"imagenet/{name}"]
    for leaf, cell in zip(leaves, CLASSIFIED[name], strict=True):
        path = ROOT / f"configs/{leaf}.py"
        if cell != "–":
            assert f"Result: published {cell} top-1; " in path.read_text(), leaf
        elif path.exists():
            assert "Result: not published" in path.read_text(), leaf
