"""Cascade Mask R-CNN, frozen micro ViT, deep bilinear prompts as in the authors' code, shapes.

Run:    python tools/train_net.py --config-file configs/shapes/cascade_bpt_d_released.py
Before: python tools/collect_statistics.py --config-file configs/shapes/cascade_bpt_d_released.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: see README.md
"""

from .cascade_bpt_d import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.placement = "released"  # every block; the basis is trained in the last 4 only
model.backbone.net.prompt.basis_init = "whitening"
train.prompt_statistics = "statistics/micro_whiten_all.safetensors"
train.output_dir = "output/shapes/cascade_bpt_d_released"
