"""Stanford Dogs, a linear head on a frozen MAE ViT-B, no prompts; recipe of shallow prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs_linear.py
Data:   Stanford Dogs, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train

data.name = "dogs"
model.num_classes = 120
optimizer.lr = 5e-2
optimizer.weight_decay = 5e-3
optimizer.params.head_weight_decay = 0.1
train.output_dir = "output/fgvc/dogs_linear"
