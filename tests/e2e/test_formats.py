"""A YOLO dataset from the command line: checked, converted, split, trained on and evaluated."""

import json

import pytest
from detectron2.config import LazyConfig
from PIL import Image

from bpt_det.cli.app import main
from bpt_det.config import load_config
from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.images import read_rgb
from bpt_det.engine.metrics import read_final_metrics
from tests.support.detectors import shrink
from tests.support.label_files import pack, write_yolo
from tests.support.paths import ROOT


def run_command(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A data.yaml of 12 images with a box in each, all in one split."""
    boxes = [(0, (10.0, 10.0, 60.0, 50.0)), (1, (30.0, 40.0, 90.0, 70.0))]
    images = {f"{i:02}": ((80, 100), boxes) for i in range(12)}
    return write_yolo(tmp_path_factory.mktemp("yolo"), images)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    cfg = shrink(load_config(str(ROOT / "configs/coco/overfit_micro.py")))
    cfg.train.device = "cpu"
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return path


def test_one_source_is_split_trained_on_and_evaluated(file, config, tmp_path):
    folder = tmp_path / "run"
    options = [f"data.train={file}", "train.epochs=2", "dataloader.train.total_batch_size=4"]
    options += [f"train.output_dir={folder}", "train.best_metric=bbox/AP"]
    assert run_command("train", "--config-file", config, *options) == 0
    sides = [(folder / f"split/{n}.txt").read_text().splitlines() for n in ("train", "val")]
    assert sorted(sides[0] + sides[1]) == [f"images/train/{i:02}.png" for i in range(12)]
    cfg = load_config(str(folder / "config.yaml"))
    per_epoch = len(sides[0]) // 4
    assert (cfg.train.max_iter, cfg.train.eval_period) == (2 * per_epoch, per_epoch)
    assert cfg.train.reference_batch_size == 16 and cfg.model.roi_heads.num_classes == 2
    assert "bbox/AP-dog" in read_final_metrics(folder)
    own = ["--config-file", folder / "config.yaml", "--checkpoint", folder / "model_final.pth"]
    assert run_command("eval", *own) == 0
    assert run_command("visualize", *own, "--output", tmp_path / "pictures") == 0


def test_it_is_checked_and_converted_from_an_archive_too(file, tmp_path, capsys):
    archive = pack(file.parent, tmp_path / "mine.zip")
    for source in (file, archive):
        assert run_command("check", source) == 0
    folder = tmp_path / "coco"
    assert run_command("convert", archive, "--output", folder, "--copy-images") == 0
    assert f"data.train={folder}/train.json:{folder}/images" in capsys.readouterr().out
    assert run_command("check", folder / "train.json", folder / "images") == 0
    content = json.loads((folder / "train.json").read_text())
    expected = read_coco(str(file))
    assert len(content["annotations"]) == len(expected.objects) == 24
    assert [image["file_name"] for image in content["images"]] == [
        image["file_name"] for image in expected.images.values()
    ]


def test_all_classes_are_written_as_one(file, tmp_path):
    contents = []
    for name, options in (("all", []), ("one", ["--single-class"])):
        assert run_command("convert", file, "--output", tmp_path / name, *options) == 0
        contents.append(json.loads((tmp_path / name / "train.json").read_text()))
    every, single = contents
    assert len({annotation["category_id"] for annotation in every["annotations"]}) == 2
    assert single["categories"] == [{"id": 1, "name": "object"}]
    expected = [{**annotation, "category_id": 1} for annotation in every["annotations"]]
    assert single["annotations"] == expected


def test_images_of_one_name_are_not_copied_over_each_other(tmp_path, capsys):
    entries = []
    for index, folder in enumerate("ab"):
        path = tmp_path / folder / "x.png"
        path.parent.mkdir()
        Image.new("RGB", (20, 10), (index, 0, 0)).save(path)
        entries.append({"id": index, "file_name": str(path), "width": 20, "height": 10})
    content = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "x.json").write_text(json.dumps(content))
    command = ["convert", f"{tmp_path}/x.json:{tmp_path}", "--output", tmp_path / "out"]
    assert run_command(*command, "--copy-images") == 2
    error = capsys.readouterr().err
    assert "a/x.png" in error and "b/x.png" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert run_command(*command) == 0


def test_an_image_in_two_splits_is_found_and_annotations_are_drawn(tmp_path, capsys):
    image = {"a": ((80, 100), [(0, (10.0, 10.0, 60.0, 50.0))])}
    file = write_yolo(tmp_path / "yolo", image)
    write_yolo(tmp_path / "yolo", {"b": image["a"]}, split="val")  # the same pixels
    report, pictures = tmp_path / "report.json", tmp_path / "pictures"
    assert run_command("check", file, "--json", report, "--draw", pictures) == 0
    assert "images/val/b.png: is images/train/a.png (train) too" in capsys.readouterr().out
    splits = json.loads(report.read_text())["splits"]
    assert [s["description"]["objects"] for s in splits.values()] == [1, 1]
    found = {split: {kind["kind"] for kind in s["kinds"]} for split, s in splits.items()}
    assert found["val"] - found["train"] == {"same_image_in_two_splits"}
    for split, name in (("train", "a.png"), ("val", "b.png")):
        pixels = read_rgb(pictures / split / name)
        original = read_rgb(tmp_path / f"yolo/images/{split}/{name}")
        assert (
            pixels.shape[0] >= original.shape[0] and len(set(map(tuple, pixels.reshape(-1, 3)))) > 5
        )
        assert (pictures / split / "contact_sheet.png").is_file()


def test_a_label_out_of_range_is_one_line(file, config, tmp_path, capsys):
    broken = write_yolo(tmp_path / "yolo", {"a": ((80, 100), [(0, (1.0, 2.0, 300.0, 40.0))])})
    assert run_command("train", "--config-file", config, f"data.train={broken}") == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err and "line 1: 1.505 is outside 0 to 1" in err
    assert run_command("convert", broken, "--output", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_a_file_whose_images_are_not_near_it_is_not_converted(tmp_path, capsys):
    image = {"id": 1, "file_name": "a.png", "width": 9, "height": 9}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert run_command("convert", tmp_path / "a.json", "--output", tmp_path / "out") == 2
    text = capsys.readouterr().err
    assert f"are not found: 'a.png' is not in {tmp_path}" in text and "None" not in text
