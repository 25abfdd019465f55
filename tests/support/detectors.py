"""Tiny detectors: any config of ours with every size cut down."""

from pathlib import Path

from detectron2.config import LazyCall as L
from omegaconf import DictConfig

from bpt_det.engine import build_multistep_schedule
from tests.support.paths import ROOT

DETECTION_CONFIGS = sorted(  # every config of a detector
    str(path.relative_to(ROOT))
    for folder in ("coco", "custom", "lvis", "shapes")
    for path in (ROOT / "configs" / folder).glob("*.py")
    if path.stem not in ("mae_micro", "crops")  # pre-training, classification
)
TINY_VIT = {"embed_dim": 32, "num_blocks": 5, "num_heads": 2, "checkpoint": None}


def shrink(cfg: DictConfig) -> DictConfig:
    """Cut the sizes of a detection config in place; what connects to what stays as it is."""
    backbone, rpn, heads = cfg.model.backbone, cfg.model.proposal_generator, cfg.model.roi_heads
    vit = backbone.net.vit
    grid_side = 64 // vit.patch_size
    vit.update(TINY_VIT, pretrain_size=grid_side * (vit.pretrained_patch_size or vit.patch_size))
    backbone.out_channels = 16
    prompt = backbone.net.get("prompt")
    if prompt is not None:
        prompt.prompt_length = 5
        if "rank" in prompt:
            prompt.rank = 3
    rpn.batch_size_per_image = 16
    rpn.pre_nms_topk = rpn.post_nms_topk = [50, 30]
    heads.batch_size_per_image = 16
    is_cascade = "box_heads" in heads
    box_heads = heads.box_heads if is_cascade else [heads.box_head]
    box_predictors = heads.box_predictors if is_cascade else [heads.box_predictor]
    for box_head, box_predictor in zip(box_heads, box_predictors, strict=True):
        box_head.conv_dims, box_head.fc_dims = [16], [24]
        box_predictor.input_shape.channels = 24
        box_predictor.test_score_thresh = 0.0
    heads.mask_head.conv_dims = [16, 16]
    cfg.dataloader.image_size = 64
    cfg.dataloader.train.total_batch_size = 2
    cfg.dataloader.train.num_workers = cfg.dataloader.test.num_workers = 0
    cfg.train.log_period = 5
    cfg.train.curves = None  # half a second of drawing
    cfg.train.report = cfg.train.draw_batch = False
    if "CocoEvaluator" in str(cfg.dataloader.evaluator._target_):
        cfg.dataloader.evaluator.num_pictures = 0
    return cfg


def use_shapes(cfg: DictConfig, shapes_root: Path) -> DictConfig:
    """Point a config at a rendered shapes dataset."""
    cfg.model.roi_heads.num_classes = 10
    cfg.dataloader.train.mapper.instance_mask_format = "bitmask"
    for loader, split in ((cfg.dataloader.train, "train"), (cfg.dataloader.test, "val")):
        loader.dataset.names = f"{shapes_root.parent.name}_{split}"
        loader.dataset.json_file = str(shapes_root / f"annotations/instances_{split}.json")
        loader.dataset.image_root = str(shapes_root / split)
    return cfg


def constant_rate() -> DictConfig:
    """A schedule without warm-up and drops."""
    return L(build_multistep_schedule)(max_iter="${train.max_iter}", milestones=[], warmup_iters=0)
