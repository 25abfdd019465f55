"""Frozen micro ViT, shallow fixed-whitened prompts, crops of shapes.

Run:    python tools/train_cls.py --config-file configs/shapes_crops/fwhiten_s.py
Before: python tools/collect_statistics.py --config-file configs/shapes_crops/fwhiten_s.py
Data:   python -m bpt_det.shapes --crops --output datasets/shapes_crops
Result: see README.md
"""

from ..common.prompts import whitened as _whitened
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _whitened
model.backbone.prompt.prompt_length = 20
train.prompt_statistics = "statistics/micro_crops_whiten_s.safetensors"
optimizer.lr = 1e-2
train.output_dir = "output/shapes_crops/fwhiten_s"
