"""Published results: one file, which the tables of README.md are made from."""

import pytest
from detectron2.config import LazyConfig

from bpt_det.config.loading import load_config
from tests.support.paths import ROOT, TOOLS

PUBLISHED = LazyConfig.load(str(ROOT / "configs/published.py")).published


@pytest.mark.parametrize(
    ("base", "choice", "value"),
    [
        ("coco/mask_rcnn", "spt_d", "37.85 / 34.71"),
        ("coco/cascade", "bpt_s", "43.01 / 38.83"),
        ("coco/cascade", "vitdet_b", "54.0 / 46.7"),
        ("fgvc/cub", "twhiten_s", "78.54"),
        ("fgvc/cars", "bpt_d", "86.11"),
        ("fgvc/flowers", "bpt_s pretraining=supervised", "99.6"),
        ("imagenet", "bpt_s", "72.15"),
        ("imagenet", "full vit=vit_h fraction=10pct", "74.43"),
    ],
)
def test_results_are_those_of_the_paper(base, choice, value):
    assert PUBLISHED[base][choice] == value


@pytest.mark.parametrize("base", PUBLISHED)
def test_every_published_result_has_a_config(base):
    for choice in PUBLISHED[base]:
        method, *further = choice.split()
        if method == "vitdet_b":
            load_config(f"{base}_{method}")
        elif further:  # methods alone are composed elsewhere
            load_config(base, [f"method={method}", *further])


def test_the_tables_are_current(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    import update_tables

    readme, published = (page.read_text() for page in update_tables.PAGES)
    for text in (readme, published):
        assert update_tables.update(text) == text, "run python tools/update_tables.py"
    for method in ("frozen", "bpt_d_released", "twhiten_d"):
        assert published.count(f"| `{method}`") == 2
    assert "| `twhiten_d` | whitened, W trained | P = 50 | last 4 blocks | 2,512,896 |" in published
    assert "| `bpt_s` | bilinear | P = 100, R = 100 | shallow | 86,800 |" in readme


def test_the_readme_fits_a_few_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
