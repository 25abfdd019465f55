"""Cascade Mask R-CNN, frozen MAE ViT-B without prompts, COCO 2017, 3x schedule.

Run:    python tools/train_net.py --config-file configs/coco/cascade_frozen.py --num-gpus 8
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see docs/how_to/coco.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from .cascade import data, dataloader, lr_multiplier, model, optimizer, train

train.output_dir = "output/coco/cascade_frozen"
