"""Burstiness from the command line: a table with one row per block, and histograms."""

import numpy as np
import pytest
from PIL import Image

from bpt_det.cli.burstiness import main
from tests.support.paths import ROOT
from tests.support.predictors import write_run

VIT = "model.backbone.net.vit"
SIZES = [f"{VIT}.{k}={v}" for k, v in (("embed_dim", 16), ("num_blocks", 3), ("num_heads", 2))]
SETTINGS = [
    "--config-file",
    "configs/shapes/cascade.py",
    "method=fwhiten_s",
    *SIZES,
    f"{VIT}.checkpoint=null",
]


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.chdir(ROOT)
    return lambda *arguments: main([*SETTINGS, *map(str, arguments)])


def test_a_row_for_every_block_and_a_picture(measure, shapes_root, tmp_path, capsys):
    picture = tmp_path / "burstiness.png"
    assert measure("--images", shapes_root / "val", "--picture", picture) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Excess kurtosis of the entries, 6 images")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[5:]]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert all(np.isfinite([float(cell) for cell in row[:6]]).all() for row in rows)
    assert all(1e6 < float(row[6]) <= 1 / (16 * 2**-52) * 1.5 for row in rows)  # of float64 at most
    assert all(0.1 <= float(cell) <= 10 for row in rows for cell in row[7:])  # exponents
    drawn = np.asarray(Image.open(picture).convert("RGB"))
    assert drawn.shape == (495, 1040, 3) and (drawn != 255).any()


def test_learned_prompts_of_a_checkpoint_stand_beside(shapes_root, tmp_path, capsys):
    write_run(tmp_path, shapes_root)
    run = ["--config-file", tmp_path / "config.yaml", "--checkpoint", tmp_path / "model_final.pth"]
    picture = tmp_path / "burstiness.png"
    arguments = [*run, "--images", shapes_root / "val", "--picture", picture]
    assert main([str(argument) for argument in arguments]) == 0
    assert "prompts of block 0: excess kurtosis" in capsys.readouterr().out
    assert Image.open(picture).width == 5 * 260


def test_groups_have_a_spread_where_images_make_one(measure, shapes_root, capsys):
    """M is of the weights alone; the tokens of 3 images are not those of 3 others."""
    assert measure("--images", shapes_root / "val", "--groups", 2) == 0
    out = capsys.readouterr().out
    assert "Mean ± standard deviation over 2 sets" in out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()[6:]]
    assert len(rows) == 3
    assert all("±" not in row[1] and "±" not in row[7] for row in rows)
    assert any("±" in cell for row in rows for cell in row[2:5])
    assert measure("--images", shapes_root / "val", "--groups", 7) == 2
    assert "--groups 7 is more than the 6 images; give at most as many." in capsys.readouterr().err


def test_without_a_picture_there_is_the_table_alone(measure, shapes_root, capsys):
    assert measure("--images", shapes_root / "val", "--num-images", 2) == 0
    assert "2 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--images", "nowhere"], "--images 'nowhere' is not a folder"),
        (["--images", "configs", "--num-images", "0"], "--num-images must be at least 1, got 0."),
        (["--images", "configs", "--groups", "0"], "--groups must be at least 1, got 0."),
        (["--images", "configs", "--eps", "2"], r"eps of the whitening must be in [0, 1), got 2.0"),
        (["--images", "configs"], "--images 'configs' holds no images"),
    ],
)
def test_bad_input_is_one_line(measure, arguments, text, capsys):
    assert measure(*arguments) == 2
    out, err = capsys.readouterr()
    assert text in err and "Traceback" not in out + err and err.count("error: ") == 1
