"""Cascade Mask R-CNN, frozen micro ViT, shallow free prompts from tokens (SPT), shapes.

Run:    python tools/train_net.py --config-file configs/shapes/cascade_spt_s.py
Before: python tools/collect_statistics.py --config-file configs/shapes/cascade_spt_s.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: see README.md
"""

from ..common.prompts import free as _free
from .cascade_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.prompt = _free
model.backbone.net.prompt.prompt_length = 20
model.backbone.net.prompt.init = "kmeans"
train.prompt_statistics = "statistics/micro_tokens_s.safetensors"
train.output_dir = "output/shapes/cascade_spt_s"
