"""NABirds, a linear head on a frozen MAE ViT-B, no prompts; recipe of shallow prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/nabirds_linear.py
Data:   NABirds, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train

data.name = "nabirds"
model.num_classes = 555
optimizer.lr = 5e-2
optimizer.weight_decay = 5e-3
optimizer.params.head_weight_decay = 0.1
train.output_dir = "output/fgvc/nabirds_linear"
