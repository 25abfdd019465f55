"""Cascade Mask R-CNN, frozen micro ViT, fixed-whitened prompts in the last 4 blocks, shapes.

Run:    python tools/train_net.py --config-file configs/shapes/cascade_fwhiten_d.py
Before: python tools/collect_statistics.py --config-file configs/shapes/cascade_fwhiten_d.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: see README.md
"""

from ..common.prompts import whitened as _whitened
from .cascade_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.placement = "last_4"
model.backbone.net.prompt = _whitened
model.backbone.net.prompt.prompt_length = 10
train.prompt_statistics = "statistics/micro_whiten_d.safetensors"
train.output_dir = "output/shapes/cascade_fwhiten_d"
