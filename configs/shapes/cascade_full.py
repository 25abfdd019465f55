"""Cascade Mask R-CNN, micro ViT trained whole without prompts, shapes.

Run:    python tools/train_net.py --config-file configs/shapes/cascade_full.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: see README.md
"""

from .cascade_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.frozen = False
model.backbone.net.vit.drop_path_rate = 0.1
optimizer.params.layer_decay = 0.7  # as ViTDet-B
train.output_dir = "output/shapes/cascade_full"
