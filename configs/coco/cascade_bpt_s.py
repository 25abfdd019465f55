"""Cascade Mask R-CNN, frozen MAE ViT-B, shallow bilinear prompts, COCO 2017.

Run:    python tools/train_net.py --config-file configs/coco/cascade_bpt_s.py --num-gpus 8
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see docs/how_to/coco.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..methods.bpt_s import method as _method
from .cascade import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.update(_method.settings)
train.output_dir = "output/coco/cascade_bpt_s"
