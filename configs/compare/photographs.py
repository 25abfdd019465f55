"""Objects of any class in real photographs: a frozen ViT-Tiny under Mask R-CNN with slim heads.

Run:    python tools/compare.py --plan configs/compare/photographs.py data.train=... data.val=...
Data:   COCO with its classes as one, see docs/how_to/compare.md. The first run fetches timm's
        ViT-Ti/16 (AugReg, ImageNet-21k then 1k), or model.backbone.net.vit.checkpoint=PATH
Result: docs/reproduction/results.md, docs/reproduction/frozen_backbones.md
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from ..common.detection_report import REPORT

_NET, _HEADS = "model.backbone.net.", "model.roi_heads."
_VIT = _NET + "vit."
_LENGTH, _LOW_RANK = _NET + "prompt.prompt_length", {_NET + "prompt.rank": 8}
_SHALLOW, _DEEP = {_LENGTH: 32}, {_LENGTH: 16, _NET + "placement": "all"}
_FOUR = {_NET + "layers": [2, 5, 8, 11]}
_NECK = {_NET + "neck_blocks": 1}


def _row(label, settings, method="frozen"):
    return dict(label=label, config="configs/coco/mask_rcnn.py", method=method, settings=settings)


plan = dict(
    name="photographs",
    title="Photographs of COCO, frozen ViT-Tiny under Mask R-CNN",
    about=(
        "ViT-Tiny/16, supervised on ImageNet-21k and then ImageNet-1k, frozen, under Mask R-CNN "
        "with slim heads at 256 pixels; COCO's classes as one; 1120 iterations of 4 images, rate "
        "1e-3. Shallow: P = 32; deep: P = 16 in every block; bilinear: R = 8. The last layer "
        "unless it says otherwise. Four layers: blocks 2, 5, 8 and 11, joined by 1x1. One layer: "
        "the last, with the norm and the 1x1 layer that several have. Mean ± standard deviation "
        "over the seeds."
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
    # What matters first; each is reported when it has ended.
    methods={
        "last": _row("no prompts", {}),
        "four": _row("no prompts, four layers", _FOUR),
        "one": _row("no prompts, one layer, norm and 1x1", {_NET + "layers": [11]}),
        "bpt_s": _row("BPT-S", {**_SHALLOW, **_LOW_RANK}, "bpt_s"),
        "vpt_s": _row("VPT-S", _SHALLOW, "vpt_s"),
        "bpt_d": _row("BPT-D", {**_DEEP, **_LOW_RANK}, "bpt_d"),
        "lora": _row("LoRA", {}, "lora"),
        "neck": _row("no prompts, one neck block", _NECK),
    },
)
