"""Detection of real photographs with a frozen ViT-Tiny under Mask R-CNN with slim heads.

Run:    python tools/compare.py --plan configs/compare/photographs.py
Data:   COCO 2017, laid out as in datasets/README.md; 112 training and 40 validation images are what
        the schedule is for. timm's ViT-Ti/16 (AugReg, ImageNet-21k then 1k) is fetched by the first
        run, or model.backbone.net.vit.checkpoint=PATH
Result: not measured yet
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from ..common.detection_report import REPORT

_BASE = "configs/coco/mask_rcnn.py"
_VIT, _PROMPT = "model.backbone.net.vit.", "model.backbone.net.prompt."
_HEADS = "model.roi_heads."
_LENGTH, _RANK = _PROMPT + "prompt_length", _PROMPT + "rank"
_SHALLOW, _DEEP = {_LENGTH: 32}, {_LENGTH: 16, "model.backbone.net.placement": "all"}
_METHODS = {
    "frozen": ("none", "frozen", {}),
    "vpt_s": ("VPT-S", "vpt_s", _SHALLOW),
    "bpt_s": ("BPT-S", "bpt_s", {**_SHALLOW, _RANK: 8}),
    "bpt_d": ("BPT-D", "bpt_d", {**_DEEP, _RANK: 8}),
}
# The other fold: trained on the validation images, evaluated on the training images.
_REVERSE = {
    "dataloader.train.dataset.names": "coco_2017_val",
    "dataloader.test.dataset.names": "coco_2017_train",
}

plan = dict(
    name="photographs",
    title="Photographs of COCO, frozen ViT-Tiny under Mask R-CNN",
    about=(
        "ViT-Tiny/16, supervised on ImageNet-21k and then ImageNet-1k, frozen, under Mask R-CNN "
        "with slim heads at 256 pixels; 1120 iterations of 4 images, rate 1e-3. Shallow: P = 32; "
        "deep: P = 16 in every block; bilinear: R = 8. Mean ± standard deviation over the seeds."
    ),
    command="train",
    settings={
        **{_VIT + key: value for key, value in _ARCHITECTURES["vit_tiny"].items()},
        _VIT + "checkpoint": "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "model.pixel_mean": [127.5, 127.5, 127.5],
        "model.pixel_std": [127.5, 127.5, 127.5],
        "model.backbone.out_channels": 64,
        "model.proposal_generator.head.conv_dims": [-1],
        "model.proposal_generator.anchor_generator.sizes": [[16], [32], [64], [128], [256]],
        "model.proposal_generator.pre_nms_topk": [500, 300],
        "model.proposal_generator.post_nms_topk": [300, 150],
        _HEADS + "batch_size_per_image": 64,
        _HEADS + "box_head.conv_dims": [64],
        _HEADS + "box_head.fc_dims": [256],
        _HEADS + "box_predictor.input_shape.channels": 256,
        _HEADS + "mask_head.conv_dims": [64, 64, 64],
        "dataloader.image_size": 256,
        "dataloader.train.total_batch_size": 4,
        "dataloader.train.num_workers": 1,
        "dataloader.test.num_workers": 0,
        "train.max_iter": 1120,
        "train.eval_period": 1120,
        "lr_multiplier.warmup_iters": 100,
        "lr_multiplier.milestones": [0.75, 0.92],
        "optimizer.lr": 1e-3,
    },
    grid={},
    seeds=[0, 1, 2],
    select="bbox/AP",
    report=REPORT,
    methods={
        f"{name}{suffix}": dict(
            label=label + note, config=_BASE, method=method, settings={**settings, **fold}
        )
        for suffix, note, fold in (("", "", {}), ("_reverse", ", other fold", _REVERSE))
        for name, (label, method, settings) in _METHODS.items()
    },
)
