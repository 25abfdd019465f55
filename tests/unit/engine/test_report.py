"""The report of a run: one file with all that the folder holds, as a browser shows it."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from bpt_det.engine import train
from bpt_det.engine.report import write_report
from bpt_det.engine.result import RunResult
from bpt_det.utils.atomic import write_rows
from bpt_det.utils.errors import InputError
from tests.support.regression import regression_config

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NAMES = ("cat", "<b>dog</b>", "a class of a rather long name")


@pytest.fixture
def folder(tmp_path):
    """A run as an evaluation of a detector leaves it, with another evaluation inside."""
    run = tmp_path / "run"
    metrics = {"bbox/AP": 41.256, "bbox/AP50": None, "bbox/AP-cat": 10.0}
    result = RunResult("finished", metrics={"last": metrics, "best": {}, "final": {}})
    result.best_metric, result.max_iter, result.iterations = "bbox/AP", 20, 20
    result.command, result.versions = ["bpt-det", "train", "a b"], {"torch": "2.5"}
    (run / "eval_only/inference").mkdir(parents=True)
    result.write(run)
    result.write(run / "eval_only")
    records = [
        {"iteration": i, "total_loss": 3.0 - i, "lr": 0.1, "prompt_rms_3": 1.0} for i in (0, 1, 2)
    ]
    (run / "metrics.json").write_text("".join(json.dumps(record) + "\n" for record in records))
    for place in (run / "inference", run / "inference/masks", run / "eval_only/inference"):
        columns = ["class", "objects", *(f"column_{i}" for i in range(12))]
        write_rows(
            place / "per_class.csv", [columns, *([name, 3, *["12.3456"] * 12] for name in NAMES)]
        )
    counts = [[name, *range(3)] for name in NAMES]
    write_rows(run / "inference/confusion.csv", [["true", *NAMES], *counts])
    Image.fromarray(np.zeros((900, 1150, 3), np.uint8)).save(run / "inference/predictions.png")
    (run / "config.yaml").write_text("train: {max_iter: 20}\n")
    (run / "log.txt").write_text(
        "[11/29 01:19:31] x DEBUG: Environment:\nGPU  none\n[11/29 01:19:32] next\n"
    )
    return run


class Collector(HTMLParser):
    def __init__(self):
        super().__init__()
        self.addresses, self.tags, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def read(path):
    collector = Collector()
    collector.feed(path.read_text())
    return collector, " ".join(collector.texts)


def test_the_report_holds_metrics_tables_pictures_and_settings(folder):
    report, text = read(write_report(folder))
    assert "run: bbox/AP 41.26" in text
    assert "12.3" in text and "12.3456" not in text
    assert "bpt-det train 'a b'" in text and "2.5" in text and "GPU  none" in text
    assert "max_iter: 20" in text
    assert "<b>dog</b>" in text and "b" not in report.tags  # a name is no HTML
    assert "AP-cat" not in text  # it is in the table by class
    # Curves, prompts, the confusion matrix drawn of its table, the sheet of predictions.
    pictures = [address[:15] for address in report.addresses if address.startswith("data:")]
    assert [p.split("/")[1][:3] for p in pictures] == ["png", "png", "png", "jpe"]
    assert text.count("By class") == 2  # the evaluation inside has its own report
    headings = [t for t in report.texts if t.startswith("Evaluation")]
    assert headings[:2] == ["Evaluation of boxes", "Evaluation of masks"]


def test_the_title_has_the_metric_of_the_final_test(folder):
    """A classifier is chosen by val/top1 and tested as test/top1."""
    result = RunResult("finished", metrics={"last": {}, "best": {}, "final": {}})
    result.best_metric = "val/top1"
    result.metrics["best"] = {"val/top1": 80.0, "val/top5": 90.0}
    for final, expected in (
        ({}, "val/top1 80.00"),
        ({"test/loss": 1.0, "test/top1": 70.0}, "test/top1 70.00"),
        ({"test/top1": None}, "val/top1 80.00"),
    ):
        result.metrics["final"] = final
        result.write(folder)
        assert f"run: {expected}" in read(write_report(folder))[1]


def test_the_numbers_of_a_column_have_as_many_places(folder):
    rows = [["class", "objects", "AP", "F1_threshold"], ["a", "9", "0.0000", "0.1234"]]
    write_rows(folder / "inference/per_class.csv", [*rows, ["b", "12", "20.0000", "0.5678"]])
    texts = read(write_report(folder))[0].texts
    assert {"0.0", "20.0", "0.12", "0.57", "9", "12"} <= set(texts)


def test_nothing_in_the_report_is_read_from_the_network(folder):
    report, text = read(write_report(folder))
    assert report.addresses
    assert all(address.startswith(("data:", "#")) for address in report.addresses)
    assert "script" not in report.tags and "link" not in report.tags
    assert "url(" not in write_report(folder).read_text()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no result.json"):
        write_report(tmp_path)


def test_a_run_ends_with_its_report(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    cfg = regression_config(tmp_path / "run")
    cfg.train.report = True
    train(cfg)
    _, text = read(tmp_path / "run/report.html")
    assert "finished, 6 of 6 iterations" in text


def test_a_report_that_cannot_be_written_fails_no_run(
    tmp_path, repository_root, monkeypatch, caplog
):
    monkeypatch.chdir(repository_root)
    cfg = regression_config(tmp_path / "run")
    cfg.train.report = True
    (tmp_path / "run/report.html").mkdir(parents=True)
    assert train(cfg).keys() == {"val"}
    assert "no report.html: cannot write" in caplog.text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")
@pytest.mark.parametrize("width", [1150, 360])
def test_a_browser_shows_the_report_at_every_width_without_a_side_scroll(folder, width, tmp_path):
    content = write_report(folder).read_text()
    # A frame is as wide as asked for; a window of a browser is not, if that is narrow.
    probe = """<script>onload = () => { const d = frames[0].document;
        const images = [...d.images].map(i => i.naturalWidth > 0 && i.width >= 200);
        document.title = [frames[0].innerWidth, d.documentElement.scrollWidth, ...images]; }
        </script>"""
    frame = f'<iframe style="width:{width}px;border:0" srcdoc="{html.escape(content)}"></iframe>'
    page = tmp_path / "probe.html"
    page.write_text(f"<title></title>{probe}{frame}")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    (title,) = re.findall("<title>([^<]+)</title>", shown)
    inner, scrolled, *pictures = title.split(",")
    assert inner == str(width)
    assert int(scrolled) <= width
    assert pictures == ["true"] * 4
