"""Cascade Mask R-CNN, frozen MAE ViT-B, deep bilinear prompts as in the authors' code, COCO 2017.

Run:    python tools/train_net.py --config-file configs/coco/cascade_bpt_d_released.py --num-gpus 8
Before: python tools/collect_statistics.py --config-file configs/coco/cascade_bpt_d_released.py
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 44.97 box AP, 39.69 mask AP for "BPT-D" of either kind; ours: not measured yet
"""

from .cascade_bpt_d import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.placement = "released"  # every block; the basis is trained in the last 4 only
model.backbone.net.prompt.basis_init = "whitening"
train.prompt_statistics = "statistics/vit_b_whiten_all.safetensors"
train.output_dir = "output/coco/cascade_bpt_d_released"
