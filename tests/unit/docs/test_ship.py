"""The serving example of docs/how_to/ship.md, run as the page has it."""

import io
import re

import pycocotools.mask as mask_util
import pytest
from PIL import Image

from bpt_det import Predictor, load_config
from bpt_det.inference import export_task
from bpt_det.shapes import render_image
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/how_to/ship.md").read_text()
SHIPPED = ("shapes/cascade_bpt_s", "bpt_det:cascade_bpt_s_shapes.pth")


def service():
    (code,) = re.findall(r'```python\n("""Detect objects over HTTP.*?)```', PAGE, re.DOTALL)
    return code


@pytest.fixture
def client(tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="pip install -r requirements-serve.txt")
    testclient = pytest.importorskip("fastapi.testclient")
    cfg = load_config(SHIPPED[0], ["train.device=cpu"])
    export_task(cfg, SHIPPED[1], tmp_path)
    monkeypatch.setenv("TASK", str(tmp_path))
    names = {"__name__": "serve"}
    exec(compile(service(), "serve.py", "exec"), names)
    return testclient.TestClient(names["app"])


def upload(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return {"file": ("a.png", file.getvalue())}


def test_the_service_answers_with_what_the_predictor_finds(client):
    pixels = render_image(0, 1, split="val", image_size=128)[0]
    expected = Predictor(*SHIPPED, device="cpu")(pixels)
    answer = client.post("/detect", files=upload(pixels)).json()
    assert (answer["height"], answer["width"]) == expected.image_size
    assert len(answer["objects"]) == len(expected) > 1
    assert {thing["class"] for thing in answer["objects"]} <= set(client.get("/classes").json())
    for thing, score, mask in zip(
        answer["objects"], expected.scores, expected.pred_masks, strict=True
    ):
        assert set(thing) == {"class", "score", "bbox", "segmentation"}
        assert thing["score"] == pytest.approx(float(score), abs=1e-6)
        assert mask_util.area(thing["segmentation"]) == mask.sum()
    more = client.post("/detect?score_threshold=0.3", files=upload(pixels)).json()
    assert len(more["objects"]) > len(expected)
    refused = client.post("/detect?score_threshold=0.2", files=upload(pixels))
    assert refused.status_code == 422 and "greater than or equal to 0.3" in refused.text


def test_what_is_no_image_is_refused_in_one_line(client):
    answer = client.post("/detect", files={"file": ("a.png", b"no image")})
    assert answer.status_code == 422 and "'a.png'" in answer.json()["detail"]
    assert client.post("/detect", files={"file": ("a", b"0" * 20_000_001)}).status_code == 413


def test_the_example_is_short_enough_to_read():
    assert len(service().splitlines()) <= 45
