"""Predicting from the command line, with a tiny model of random weights."""

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from bpt_det import Predictor
from bpt_det.cli import predict as command
from bpt_det.data.images import IMAGE_SUFFIXES
from bpt_det.utils.errors import printable
from bpt_det.utils.opencv import cv2
from bpt_det.visualization.video import VideoReader, VideoWriter
from tests.support import image_kinds
from tests.support.predictors import write_run


@pytest.fixture
def tool():
    return command


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, shapes_root):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, shapes_root)
    return folder


@pytest.fixture
def photos(tmp_path, shapes_root):
    """Three images in a folder, one of them in a subfolder and of the same name as another."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.jpg", "more/a.jpg"), start=1):
        shutil.copy(shapes_root / f"val/{number:012d}.jpg", folder / name)
    return folder


@pytest.fixture
def clip(tmp_path):
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "a.mp4", 6, (40, 56)) as writer:
        for _ in range(5):
            writer.write(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8))
    return tmp_path / "a.mp4"


@pytest.fixture
def predict(tool, run_dir, tmp_path):
    """Run the tool on some inputs; returns its exit status."""

    def run(*inputs, options=(), output=tmp_path / "out"):
        argv = ["--config-file", run_dir / "config.yaml", "--output", output]
        argv += ["--checkpoint", run_dir / "model_final.pth", "--input", *inputs, *options]
        return tool.main([str(part) for part in argv])

    return run


def read(path):
    return json.loads(path.read_text())


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def error_of(status, capsys):
    assert status == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_images_give_pictures_and_a_coco_file(predict, photos, clip, tmp_path, run_dir, caplog):
    options = ["--recursive", "--batch-size", "2", "--score-threshold", "0.09"]
    with caplog.at_level(logging.INFO):
        assert predict(photos, clip, photos / "a.jpg", options=options) == 0
    out = tmp_path / "out"
    assert names_in(out) == ["a.png", "a_2.png", "a_3.mp4", "b.png", "predictions.json"]
    with Image.open(out / "b.png") as picture:
        assert max(picture.size) >= 512
    coco = COCO(str(out / "predictions.json"))
    files = [photos / "a.jpg", photos / "b.jpg", photos / "more/a.jpg", *[clip] * 5]
    assert [image["file_name"] for image in coco.dataset["images"]] == [str(f) for f in files]
    assert [image.get("frame_number") for image in coco.dataset["images"]][2:] == [None, *range(5)]
    assert coco.cats[1]["name"] == "disc"
    assert f"{len(coco.anns)} objects in 8 images and frames" in caplog.text
    assert "--score-threshold" not in caplog.text
    predictor = Predictor(
        run_dir / "config.yaml", run_dir / "model_final.pth", score_threshold=0.09
    )
    expected = predictor(photos / "b.jpg")
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert len(annotations) == len(expected) > 0
    np.testing.assert_allclose([a["score"] for a in annotations], expected.scores, rtol=1e-5)
    assert [a["category_id"] - 1 for a in annotations] == expected.pred_classes.tolist()


def test_tiles_give_what_the_predictor_finds_in_them(predict, photos, tmp_path, run_dir):
    options = ["--tile", "20", "--overlap", "0.3", "--score-threshold", "0.09"]
    assert predict(photos / "a.jpg", options=options) == 0
    coco = COCO(str(tmp_path / "out/predictions.json"))
    predictor = Predictor(
        run_dir / "config.yaml", run_dir / "model_final.pth", score_threshold=0.09
    )
    expected = predictor.predict_tiles(photos / "a.jpg", 20, overlap=0.3)
    annotations = [coco.anns[key] for key in sorted(coco.anns)]
    assert [a["segmentation"] for a in annotations] == expected.pred_masks.codes
    assert len(annotations) > 6, "a tile gives up to 6"


def test_where_nothing_is_found_the_option_is_named_that_shows_more(predict, photos, caplog):
    with caplog.at_level(logging.INFO):
        assert predict(photos / "a.jpg", options=["--score-threshold", "1", "--no-pictures"]) == 0
    assert "0 objects" in caplog.text and "a lower --score-threshold" in caplog.text


def test_a_video_keeps_its_size_and_speed(predict, clip, tmp_path):
    assert predict(clip, options=["--every", "2"]) == 0
    reader = VideoReader(str(tmp_path / "out/a.mp4"))
    assert reader.fps == pytest.approx(3)  # every second frame, for as long as before
    frames = [frame for _, _, frame in reader]
    assert [frame.shape for frame in frames] == [(40, 56, 3)] * 3
    images = read(tmp_path / "out/predictions.json")["images"]
    assert [image["frame_number"] for image in images] == [0, 2, 4]


def test_each_of_several_videos_is_written(predict, clip, tmp_path):
    shutil.copy(clip, tmp_path / "b.mp4")
    assert predict(clip, tmp_path / "b.mp4", options=["--every", "2"]) == 0
    for name in ("a.mp4", "b.mp4"):
        assert len(list(VideoReader(str(tmp_path / "out" / name)))) == 3


def test_pictures_can_be_left_out_or_be_jpeg(predict, photos, clip, tmp_path):
    photo = photos / "a.jpg"
    assert predict(photo, clip, options=["--no-pictures"], output=tmp_path / "none") == 0
    assert predict(photo, options=["--format", "jpg"], output=tmp_path / "jpeg") == 0
    assert names_in(tmp_path / "none") == ["predictions.json"]
    assert names_in(tmp_path / "jpeg") == ["a.jpg", "predictions.json"]


def test_unreadable_files_are_named_and_the_others_go_on(predict, photos, tmp_path, caplog):
    (photos / "broken.png").write_text("no image")
    (tmp_path / "broken.mp4").write_text("no video")
    Image.new("RGB", (300, 1)).save(photos / "thin.png")
    assert predict(photos, tmp_path / "broken.mp4", options=["--no-pictures"]) == 1
    images = read(tmp_path / "out/predictions.json")["images"]
    assert [Path(image["file_name"]).name for image in images] == ["a.jpg", "b.jpg"]
    broken = [photos / "broken.png", photos / "thin.png", tmp_path / "broken.mp4"]
    for path in broken:
        assert [record for record in caplog.records if record.message.count(str(path))]
    summary = f"3 of 5 inputs could not be read: {', '.join(map(str, broken))}"
    assert caplog.records[-1].message == summary


def test_an_input_that_is_unusable_as_a_whole_is_one_line(predict, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no image")
    line = error_of(predict(tmp_path / "a.png"), capsys)
    assert line.startswith(f"error: image '{tmp_path / 'a.png'}' cannot be read")
    assert predict(tmp_path / "a.png", tmp_path / "b.png") == 2
    last = capsys.readouterr().err.splitlines()[-1]  # after a line for each
    assert last.startswith("error: none of the 2 inputs could be read; the first: image '")
    assert not list((tmp_path / "out").iterdir())


def test_an_input_that_is_missing_is_one_line(predict, photos, tmp_path, capsys):
    error = error_of(predict(photos, tmp_path / "absent"), capsys)
    assert f"--input '{tmp_path / 'absent'}' does not exist; give images, folders or" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["predictions.json", "a.png"])
def test_earlier_results_are_not_written_over(predict, photos, tmp_path, capsys, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    assert f"already holds {name}; choose another" in error_of(predict(photos), capsys)
    assert names_in(tmp_path / "out") == [name]
    assert (tmp_path / "out" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--every", "0"], "--every must be at least 1, got 0."),
        (["--batch-size", "-2"], "--batch-size must be at least 1, got -2."),
        (["--score-threshold", "1.5"], "--score-threshold must be in [0, 1], got 1.5."),
        (["--tile", "15"], "--tile must be at least 16, got 15."),
        (["--tile", "64", "--overlap", "20"], "--overlap must be in [0, 0.9], got 20.0."),
        (["--overlap", "0.1"], "--overlap is that of tiles; give --tile too."),
        (["train.devise=cpu"], "did you mean 'train.device'?"),
    ],
)
def test_a_bad_setting_is_one_line(predict, photos, capsys, option, expected):
    assert expected in error_of(predict(photos, options=option), capsys)


LEFT_OUT = set() if ".heic" in IMAGE_SUFFIXES else {"phone.heic"}


def test_files_of_every_kind_are_looked_at_left_out_or_named(predict, tmp_path, caplog):
    right = image_kinds.write_all(tmp_path / "kinds")
    assert predict(tmp_path / "kinds", options=["--no-pictures"]) == 1
    images = read(tmp_path / "out/predictions.json")["images"]
    shapes = {Path(image["file_name"]).name: (image["height"], image["width"]) for image in images}
    names = {printable(name): pixels.shape[:2] for name, pixels in right.items()}
    assert shapes == names
    failed = image_kinds.REFUSED.keys() - image_kinds.NOT_LISTED - LEFT_OUT
    assert f"{len(failed)} of {len(failed) + len(right)} inputs could not be read" in caplog.text
    assert "2 broken link" in caplog.text


@pytest.mark.parametrize("name", sorted(image_kinds.NOT_LISTED | {"phone.heic", "postscript.png"}))
def test_a_file_that_is_never_opened_is_one_line_and_does_not_hang(predict, tmp_path, capsys, name):
    image_kinds.REFUSED[name][1](tmp_path / name)
    assert name in error_of(predict(tmp_path / name), capsys)


@pytest.mark.parametrize("name", ["..png", "x" * 251 + ".png", os.fsdecode(b"\xff.png")])
def test_a_picture_has_a_name_that_can_be_written(predict, tmp_path, shapes_root, name):
    shutil.copy(shapes_root / "val/000000000001.jpg", tmp_path / name)
    assert predict(tmp_path / name) == 0
    (picture,) = (path for path in (tmp_path / "out").iterdir() if path.suffix == ".png")
    assert not picture.name.startswith(".")
    json.loads((tmp_path / "out/predictions.json").read_text())["images"][0]["file_name"].encode()


def test_a_camera_gives_a_video_of_so_many_frames(predict, clip, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "bpt_det.visualization.video.open_capture",
        lambda source: opened.append(source) or cv2.VideoCapture(str(clip)),
    )
    assert predict("0", options=["--max-frames", "2"]) == 0
    assert opened == ["0"]
    assert names_in(tmp_path / "out") == ["camera_0.mp4", "predictions.json"]
    images = read(tmp_path / "out/predictions.json")["images"]
    assert [image["frame_number"] for image in images] == [0, 1]
    assert {image["file_name"] for image in images} == {"camera_0"}


def test_a_camera_that_is_not_there_is_one_line(predict, capsys, tmp_path):
    error = error_of(predict("97", options=["--max-frames", "2"]), capsys)
    assert "camera 97 cannot be opened; connect it" in error
    assert not (tmp_path / "out/predictions.json").exists()
