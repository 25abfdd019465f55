"""Stanford Cars, a linear head on a frozen MAE ViT-B, no prompts; recipe of shallow prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_linear.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train

data.name = "cars"
model.num_classes = 196
optimizer.lr = 5e-2
optimizer.weight_decay = 2e-3
optimizer.params.head_weight_decay = 0.1
train.output_dir = "output/fgvc/cars_linear"
