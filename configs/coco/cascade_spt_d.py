"""Cascade Mask R-CNN, frozen MAE ViT-B, free prompts from tokens in every block (SPT), COCO 2017.

Run:    python tools/train_net.py --config-file configs/coco/cascade_spt_d.py --num-gpus 8
Before: python tools/collect_statistics.py --config-file configs/coco/cascade_spt_d.py
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see docs/how_to/coco.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..methods.spt_d import method as _method
from .cascade import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.update(_method.settings)
train.prompt_statistics = "statistics/coco/cascade_tokens_d.safetensors"
train.output_dir = "output/coco/cascade_spt_d"
