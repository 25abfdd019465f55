"""Every row of the published COCO table trains from its command line, micro sizes by override."""

import importlib
import json
import logging
import math

import pytest
from detectron2.utils.logger import setup_logger

from bpt_det.cli.launch import run_training_tool
from bpt_det.detection import use_detection_data
from tests.support.paths import ROOT

KINDS = ("frozen", "vpt_s", "vpt_d", "spt_s", "spt_d", "bpt_s", "bpt_d")
SIZES = {
    "model.backbone.net.vit": ("checkpoint=null embed_dim=32 num_blocks=5 num_heads=2".split()),
    "model.backbone": ["out_channels=16"],
    "model.proposal_generator": ["pre_nms_topk=[50,30]", "post_nms_topk=[50,30]"],
    "model.roi_heads": ["batch_size_per_image=16", "mask_head.conv_dims=[16,16]"],
    "dataloader": ["image_size=128", "train.total_batch_size=2"],
    "dataloader.train": ["num_workers=0"],
    "dataloader.test": ["num_workers=0"],
    "train": ["max_iter=5", "log_period=1", "device=cpu"],
}
BOX_HEAD, BOX_PREDICTOR = ("conv_dims=[16]", "fc_dims=[24]"), "input_shape.channels=24"


def micro_sizes(detector, kind):
    """The overrides that make a full-size config of a detector a tiny one."""
    opts = [f"{node}.{setting}" for node, settings in SIZES.items() for setting in settings]
    stages = [f"s.{i}" for i in range(3)] if detector == "cascade" else [""]
    for stage in stages:
        opts += [f"model.roi_heads.box_head{stage}.{setting}" for setting in BOX_HEAD]
        opts += [f"model.roi_heads.box_predictor{stage}.{BOX_PREDICTOR}"]
    if kind != "frozen":
        opts += ["model.backbone.net.prompt.prompt_length=7"]
    if kind.startswith("bpt"):
        opts += ["model.backbone.net.prompt.rank=3"]
    return opts


@pytest.fixture(scope="module")
def photographs(coco_root, tmp_path_factory):
    """A dozen images of COCO, also where all of it is there: FILE:FOLDER."""
    content = json.loads((coco_root / "annotations/instances_val2017.json").read_text())
    content["images"] = content["images"][:12]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
    path = tmp_path_factory.mktemp("photographs") / "dozen.json"
    path.write_text(json.dumps(content))
    return f"{path}:{coco_root}/val2017"


@pytest.fixture(params=["shapes", "photographs"])
def data(request):
    """A dataset as the overrides that choose it."""
    if request.param == "photographs":
        dozen = request.getfixturevalue("photographs")
        return [f"data.train={dozen}", f"data.val={dozen}"]
    root = request.getfixturevalue("shapes_root")
    return [
        f"data.{split}={root}/annotations/instances_{split}.json:{root}/{split}"
        for split in ("train", "val")
    ]


@pytest.fixture
def collect(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    yield importlib.import_module("bpt_det.cli.stats").main
    for name in ("bpt_det", "detectron2", "fvcore"):
        logging.getLogger(name).handlers.clear()
    setup_logger.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("detector", ["cascade", "mask_rcnn"])
def test_a_row_trains_5_iterations_and_is_evaluated(detector, kind, data, collect, tmp_path):
    config = ["--config-file", f"coco/{detector}", f"method={kind}"]
    opts = [*micro_sizes(detector, kind), *data, f"train.output_dir={tmp_path}/run"]
    if kind.startswith("spt"):
        opts += [f"model.backbone.net.statistics={tmp_path}/tokens.safetensors"]
        assert collect([*config, "--num-images", "6", *opts]) == 0
    assert run_training_tool("", [*config, *opts], adapt=use_detection_data) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.json").open()]
    losses = [line["total_loss"] for line in lines if "total_loss" in line]
    assert len(losses) == 5 and all(map(math.isfinite, losses))
    assert "bbox/AP" in lines[-1] and "segm/AP" in lines[-1]
    assert (tmp_path / "run/model_final.pth").is_file()
