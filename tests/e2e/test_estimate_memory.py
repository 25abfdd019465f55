"""The prediction of memory from the command line: tables, settings, bad input."""

import pytest

from bpt_det.cli import memory
from tests.support.paths import ROOT

SETTINGS = ["--config-file", "configs/coco/cascade_bpt_s.py"]
VIT = "model.backbone.net.vit"


@pytest.fixture
def estimate(monkeypatch):
    monkeypatch.chdir(ROOT)
    return lambda *arguments: memory.main([*SETTINGS, *map(str, arguments)])


def tables(text):
    """Return the cells of each table, row by row, without headers."""
    cells = []
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        if rows:
            cells.append([[c.strip() for c in row.strip("|").split("|")] for row in rows[2:]])
    return cells


def test_two_tables_whose_every_number_is_called_predicted(estimate, capsys):
    assert estimate("--batch-sizes", 1, 3, "--memory-gb", 1, 12, 80) == 0
    out = capsys.readouterr().out
    assert "Every number is predicted, none measured." in out
    headers = [line for line in out.splitlines() if line.startswith(("| batch", "| card"))]
    for line in headers:
        assert all("predicted" in cell for cell in line.strip("| ").split("|")[1:])
    batches, cards = tables(out)
    assert [row[0] for row in batches] == ["1", "3"]
    assert [row[:2] for row in cards] == [["1", "none"], ["12", "3"], ["80", cards[2][1]]]
    assert batches[1][-1] == cards[1][-1]  # the same total
    assert int(cards[2][1]) > 3


def test_image_size_checkpointing_and_mask_regions_take_less(estimate, capsys):
    def total(*arguments):
        assert estimate("--batch-sizes", 2, "--memory-gb", 12, *arguments) == 0
        return float(tables(capsys.readouterr().out)[0][0][-1])

    whole = total()
    assert total("--image-size", 512) < whole
    assert total("--mask-regions", 20) < whole
    assert total("--checkpointing") < whole
    assert total("--num-gpus", 8) == pytest.approx(whole + 0.221, abs=2e-3)


def test_vit_2b_is_reached_by_settings(estimate, capsys):
    sizes = {"embed_dim": 2560, "num_blocks": 24, "num_heads": 32, "pretrained_patch_size": 14}
    assert estimate(*(f"{VIT}.{name}={size}" for name, size in sizes.items())) == 0
    (weights, *_) = (row[1] for row in tables(capsys.readouterr().out)[0])
    assert 7.5 < float(weights) < 8.5  # 1.9 billion parameters of 4 bytes


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--image-size", "100"], "--image-size must be a multiple of the patch size 16, got 100."),
        (
            ["--image-size", "1008"],
            "image_size must be a multiple of 32, such as 992 or 1024, got 1008.",
        ),
        (["--batch-sizes", "2", "0"], "--batch-sizes must be at least 1, got 0."),
        (["--memory-gb", "24", "0"], "--memory-gb must be above 0 and finite, got 0."),
        (["--memory-gb", "24", "nan"], "--memory-gb must be above 0 and finite, got nan."),
        (["--memory-gb", "inf"], "--memory-gb must be above 0 and finite, got inf."),
        (["--mask-regions", "-1"], "--mask-regions must be at least 0, got -1."),
        (["--num-gpus", "0"], "--num-gpus must be at least 1, got 0."),
        ([f"{VIT}.embed_dim=770"], f"{VIT}.embed_dim=770 is not a multiple of {VIT}.num_heads=12."),
        (["--config-file", "configs/coco/cascade_vitdet_b.py"], "not for a ViTDetBackbone"),
        (["--config-file", "configs/fgvc/cub.py"], "the config has no model.backbone.net"),
        (["--config-file", "nowhere.py"], "config file 'nowhere.py' does not exist"),
    ],
)
def test_bad_input_is_one_line(estimate, arguments, text, capsys):
    assert estimate(*arguments) == 2
    out, err = capsys.readouterr()
    assert text in err and "Traceback" not in out + err and err.count("error: ") == 1
