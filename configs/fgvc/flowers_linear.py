"""Oxford Flowers 102, a linear head on a frozen MAE ViT-B, no prompts; recipe of shallow prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/flowers_linear.py
Data:   Oxford Flowers 102, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train

data.name = "flowers"
model.num_classes = 102
optimizer.lr = 1e-1
optimizer.weight_decay = 5e-3
optimizer.params.head_weight_decay = 1.0
train.output_dir = "output/fgvc/flowers_linear"
