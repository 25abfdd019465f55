"""Classify images with a trained model: what its evaluation says of them, one by one."""

import csv
import json

import numpy as np
import pytest
from detectron2.config import LazyConfig
from PIL import Image

from bpt_det import ImageClassifier
from bpt_det.cli import classify, export, train_cls
from bpt_det.config import load_config
from bpt_det.utils.errors import InputError
from tests.support import class_trees
from tests.support.classifiers import shrink_classifier
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return class_trees.write_cub(tmp_path_factory.mktemp("data") / "CUB_200_2011")


@pytest.fixture(scope="module")
def run(tmp_path_factory, cub):
    """Folder of a run of a tiny classifier."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        cfg = load_config("configs/fgvc/cub.py", ["method=bpt_s"])
        shrink_classifier(cfg, 9)
        cfg.train.update(epochs=1)
        LazyConfig.save(cfg, str(folder / "tiny.yaml"))
        settings = [f"dataloader.root={cub}", f"train.output_dir={folder}/out"]
        assert train_cls.main(["--config-file", f"{folder}/tiny.yaml", *settings]) == 0
    return folder / "out"


@pytest.fixture
def evaluated(run):
    """What the run's own evaluation says, by the end of the path of an image."""
    with (run / "test/predictions.csv").open() as file:
        return {row["image_id"]: row for row in csv.DictReader(file)}


def test_says_what_the_evaluation_says(run, cub, evaluated):
    classifier = ImageClassifier.from_run(run, "model_best.pth", device="cpu")
    assert classifier.class_names == ["002.Laysan", "005.Crested", "011.Rusty"]
    files = [cub / name for name in evaluated]
    results = classifier(files, batch_size=2)
    assert len(results) == len(evaluated) > 3
    for scores, row in zip(results, evaluated.values(), strict=True):
        assert " | ".join(score.name for score in scores) == row["top5"]
        assert scores[0].probability == pytest.approx(float(row["confidence"]), abs=2e-6)
        assert sum(score.probability for score in scores) == pytest.approx(1)
    assert "3 classes" in repr(classifier)


def test_images_of_every_form_and_order_of_channels(run, cub, evaluated):
    classifier = ImageClassifier.from_run(run, "model_best.pth", device="cpu")
    path = cub / next(iter(evaluated))
    expected = classifier(path, top_k=2)
    assert len(expected) == 2
    image = np.asarray(Image.open(path))
    assert classifier(image, top_k=2) == classifier(Image.open(path), top_k=2) == expected
    other = ImageClassifier.from_run(run, "model_best.pth", device="cpu", channel_order="BGR")
    assert other(image[:, :, ::-1], top_k=2) == other(path, top_k=2) == expected


def test_files_of_the_command(run, cub, tmp_path, capsys, evaluated):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    arguments = ["--config-file", f"{run}/config.yaml", "--checkpoint", f"{run}/model_best.pth"]
    arguments += ["--input", f"{cub}/images", f"{tmp_path}/broken.jpg", "train.device=cpu"]
    out = tmp_path / "out"
    assert classify.main([*arguments, "--recursive", "--output", str(out), "--top-k", "2"]) == 1
    images = json.loads((out / "predictions.json").read_text())
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(images) == len(rows) == len(list(cub.rglob("*.jpg")))
    by_name = {f"{cub}/{name}": row["prediction"] for name, row in evaluated.items()}
    assert {r["image_id"]: r["prediction"] for r in rows if r["image_id"] in by_name} == by_name
    for image, row in zip(images, rows, strict=True):
        assert [c["name"] for c in image["classes"]] == row["ranked"].split(" | ")
        assert image["classes"][0]["class_index"] in (0, 1, 2)
    assert classify.main([*arguments, "--recursive", "--output", str(out)]) == 2
    assert "already holds" in capsys.readouterr().err


def test_without_a_folder_a_line_is_printed_for_each_image(run, cub, capsys, evaluated):
    name, row = next(iter(evaluated.items()))
    arguments = ["--config-file", f"{run}/config.yaml", "--input", f"{cub}/{name}"]
    assert classify.main([*arguments, "--top-k", "1", "train.device=cpu"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert line.endswith("%") and line.startswith(f"{cub}/{name}: ")


@pytest.mark.parametrize("config", ["tiny.yaml", "out/config.yaml"])
def test_a_task_file_needs_no_data(run, cub, tmp_path, evaluated, config):
    command = ["--config-file", f"{run.parent}/{config}", "--output", f"{tmp_path}", "--task"]
    command += ["--checkpoint", f"{run}/model_best.pth", "dataloader.root=/no/such"]
    assert export.main([*command, "train.device=cpu"]) == 0
    path = cub / next(iter(evaluated))
    classifiers = ImageClassifier.from_task(tmp_path), ImageClassifier.from_run(run)
    assert classifiers[0].class_names == classifiers[1].class_names
    assert len(classifiers[0](path)) == 3


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["--top-k", "0"], "--top-k must be at least 1, got 0."),
        (["--input", "clip.mp4"], "is a video; give images"),
        (["--config-file", "shapes/cascade_bpt_s"], "is no config of a classifier"),
    ],
)
def test_what_cannot_be_classified_is_one_line(run, cub, tmp_path, capsys, options, fact):
    (tmp_path / "clip.mp4").write_bytes(b"")
    options = [str(tmp_path / o) if o == "clip.mp4" else o for o in options]
    arguments = ["--config-file", f"{run}/config.yaml", "--checkpoint", f"{run}/model_best.pth"]
    arguments += ["--input", f"{cub}/images", "--recursive"]
    assert classify.main([*arguments, *options]) == 2
    error = capsys.readouterr().err
    assert fact in error and error.count("\n") == 1 and len(error) < 300


def test_a_number_of_classes_below_one_is_refused(run):
    classifier = ImageClassifier.from_run(run, "model_best.pth", device="cpu")
    with pytest.raises(InputError, match="top_k must be"):
        classifier(np.zeros((9, 9, 3), np.uint8), top_k=0)
