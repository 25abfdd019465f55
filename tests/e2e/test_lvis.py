"""LVIS's format from the command line: check, train with the federated loss, evaluate."""

import json
import math

import pytest
import torch
from detectron2.config import LazyConfig

from bpt_det.cli.app import main
from bpt_det.config import load_config
from bpt_det.engine.metrics import read_final_metrics
from tests.support.detectors import shrink
from tests.support.lvis_files import write_lvis


@pytest.fixture(scope="module")
def sources(tmp_path_factory, shapes_root):
    """FILE:FOLDER of the training and the validation images, whose records name their folder."""
    folder = tmp_path_factory.mktemp("lvis")
    paths = {split: folder / f"lvis_{split}.json" for split in ("train", "val")}
    for split, path in paths.items():
        write_lvis(shapes_root / f"annotations/instances_{split}.json", path, split)
    return {split: f"{path}:{shapes_root}" for split, path in paths.items()}


def test_the_check_finds_no_error(sources):
    assert main(["check", sources["val"]]) == 0


def test_a_detector_is_trained_resumed_and_scored_by_lviss_rules(sources, tmp_path):
    cfg = shrink(load_config("lvis/cascade", ["method=bpt_s"]))
    cfg.train.update(max_iter=2, eval_period=2, device="cpu")
    cfg.train.checkpointer.period = 2
    cfg.dataloader.train.repeat_thresh = 0.9
    LazyConfig.save(cfg, str(tmp_path / "tiny.yaml"))
    run = tmp_path / "run"
    words = ["train", "--config-file", str(tmp_path / "tiny.yaml"), f"train.output_dir={run}"]
    words += [f"data.{split}={source}" for split, source in sources.items()]
    assert main(words) == 0
    metrics = read_final_metrics(run)
    for task in ("bbox", "segm"):
        names = {key.partition("/")[2] for key in metrics if key.startswith(f"{task}/")}
        assert {"AP", "APr", "APc", "APf"} <= names and not any("-" in name for name in names)
        assert not math.isnan(metrics[f"{task}/AP"])
    weights = torch.load(run / "model_final.pth", weights_only=True)["model"]
    categories = json.loads(open(sources["train"].partition(":")[0]).read())["categories"]
    expected = [category["image_count"] ** 0.5 for category in categories]
    stored = weights["roi_heads.box_predictor.0.fed_loss_cls_weights"]
    assert stored.tolist() == pytest.approx(expected) and len(set(expected)) > 1
    assert main([*words, "--resume", "train.max_iter=3"]) == 0
