"""Every row of the published COCO table trains from its command line, micro sizes by override."""

import itertools
import json
import math

import pytest

from bpt_det.cli import stats, train

KINDS = ("frozen", "vpt_s", "vpt_d", "spt_s", "spt_d", "bpt_s", "bpt_d")
SIZES = {
    "model.backbone.net.vit": ("checkpoint=null embed_dim=32 num_blocks=5 num_heads=2".split()),
    "model.backbone": ["out_channels=16"],
    "model.proposal_generator": ["pre_nms_topk=[50,30]", "post_nms_topk=[50,30]"],
    "model.roi_heads": ["batch_size_per_image=16", "mask_head.conv_dims=[16,16]"],
    "dataloader": ["image_size=128", "train.total_batch_size=2"],
    "dataloader.train": ["num_workers=0"],
    "dataloader.test": ["num_workers=0"],
    "train": ["max_iter=5", "log_period=1", "curves=null", "device=cpu"],
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
    content["annotations"] = [
        annotation for annotation in content["annotations"] if annotation["image_id"] in kept
    ]
    path = tmp_path_factory.mktemp("photographs") / "dozen.json"
    path.write_text(json.dumps(content))
    return f"{path}:{coco_root}/val2017"


@pytest.fixture
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


def rows():
    """Detector, method and data; all pairs take long, so each method has one that is not slow."""
    pairs = list(itertools.product(["cascade", "mask_rcnn"], ["shapes", "photographs"]))
    for number, kind in enumerate(KINDS):
        for pair, (detector, data) in enumerate(pairs):
            marks = [] if pair == number % len(pairs) else [pytest.mark.slow]
            yield pytest.param(detector, kind, data, marks=marks)


@pytest.mark.parametrize(("detector", "kind", "data"), list(rows()), indirect=["data"])
def test_a_row_trains_5_iterations_and_is_evaluated(detector, kind, data, tmp_path):
    config = ["--config-file", f"coco/{detector}", f"method={kind}"]
    opts = [*micro_sizes(detector, kind), *data, f"train.output_dir={tmp_path}/run"]
    if kind.startswith("spt"):
        opts += [f"train.prompt_statistics={tmp_path}/tokens.safetensors"]
        assert stats.main([*config, "--num-images", "6", *opts]) == 0
    assert train.main([*config, *opts]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.json").open()]
    losses = [line["total_loss"] for line in lines if "total_loss" in line]
    assert len(losses) == 5 and all(map(math.isfinite, losses))
    assert "bbox/AP" in lines[-1] and "segm/AP" in lines[-1]
    assert (tmp_path / "run/model_final.pth").is_file()
