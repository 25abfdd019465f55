"""Micro ViT trained whole without prompts, crops of shapes.

Run:    python tools/train_cls.py --config-file configs/shapes_crops/full.py
Data:   python -m bpt_det.shapes --crops --output datasets/shapes_crops
Result: see README.md
"""

from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.frozen = False
model.backbone.vit.drop_path_rate = 0.1
optimizer.lr = 1e-3
optimizer.weight_decay = optimizer.params.head_weight_decay = 0.05
optimizer.params.layer_decay = 0.75
train.output_dir = "output/shapes_crops/full"
