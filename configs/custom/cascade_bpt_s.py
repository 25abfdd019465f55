"""Cascade Mask R-CNN, frozen DINOv2 ViT-B, shallow bilinear prompts, for one's own images.

Run:    bpt-det train --config-file custom/cascade_bpt_s data.train=PATH \
            train.output_dir=output/mine
Data:   docs/how_to/custom_data.md; DINOv2 weights, see cascade.py
Result: not measured
"""

from ..methods.bpt_s import method as _method
from .cascade import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.update(_method.settings)
train.output_dir = "output/custom/cascade_bpt_s"
