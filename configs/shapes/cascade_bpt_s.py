"""Cascade Mask R-CNN, frozen micro ViT, shallow bilinear prompts, shapes.

Run:    make demo, or python tools/train_net.py --config-file configs/shapes/cascade_bpt_s.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: docs/reproduction/results.md
"""

from ..methods.bpt_s import method as _method
from .cascade import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.update(_method.settings)
model.backbone.net.prompt.update(prompt_length=20, rank=10)
train.output_dir = "output/shapes/cascade_bpt_s"
