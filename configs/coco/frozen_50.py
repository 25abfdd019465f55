"""Cascade Mask R-CNN on a frozen DINOv3 ViT-B: four layers, a trained neck, BPT-D; COCO 2017.

Run:    python tools/train_net.py --config-file configs/coco/frozen_50.py --num-gpus 8
Data:   COCO 2017, laid out as in datasets/README.md; timm fetches the weights, under the DINOv3
        License
Result: not measured yet. 50 box AP and more is expected, and not known: a frozen DINOv2 ViT-B has
        51.8 (ViT-Split, Mask R-CNN, 1x, copies of its blocks trained), a frozen DINOv3 ViT-B is 0.3
        PQ below a fine-tuned one (PMT, EoMT), the same detector with BPT-D on MAE has 44.97. What
        layers, neck and prompts add on DINOv3, and the best rate, is not known:
        docs/reproduction/frozen_backbones.md

Any part is one setting: model.backbone.net.layers=null, .neck_blocks=0, .prompt=null.
"""

from bpt_det.vit import BACKBONES

from ..methods.bpt_d import method as _method
from .cascade import data, dataloader, lr_multiplier, model, optimizer, train

_backbone = BACKBONES["dinov3_b"]
model.backbone.net.update(_method.settings)
model.backbone.net.vit.update(_backbone.settings(patch_size=16))
model.backbone.net.update(
    layers=_backbone.layers,  # the last block of each quarter
    join="concat",
    final_norm=_backbone.final_norm,
    neck_blocks=2,
    neck_window=0,
)
model.pixel_mean, model.pixel_std = _backbone.pixel_mean, _backbone.pixel_std

optimizer.lr = 2e-4  # of PMT's decoder; trained blocks learn with it too
lr_multiplier.warmup_iters = 1000
train.output_dir = "output/coco/frozen_50"
