"""Cascade Mask R-CNN, frozen micro ViT, free prompts in every block (VPT), shapes.

Run:    python tools/train_net.py --config-file configs/shapes/cascade_vpt_d.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: see README.md
"""

from ..common.prompts import free as _free
from .cascade_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.placement = "all"
model.backbone.net.prompt = _free
model.backbone.net.prompt.prompt_length = 5
train.output_dir = "output/shapes/cascade_vpt_d"
