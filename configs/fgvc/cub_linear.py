"""CUB-200-2011, a linear head on a frozen MAE ViT-B, no prompts; recipe of shallow prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/cub_linear.py
Data:   CUB-200-2011, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train

data.name = "cub"
model.num_classes = 200
optimizer.lr = 5e-2
optimizer.weight_decay = 5e-3
optimizer.params.head_weight_decay = 0.5
train.output_dir = "output/fgvc/cub_linear"
