"""Stanford Cars, MAE ViT-B fully fine-tuned without prompts; the recipe is ours.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_full.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 83.51 top-1; ours: not measured yet
"""

from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.frozen = False
model.backbone.vit.drop_path_rate = 0.1
# ImageNet's rate of Table 8, scaled to a batch of 32.
optimizer.lr = 4e-3 * 32 / 1024
optimizer.weight_decay = optimizer.params.head_weight_decay = 0.05
optimizer.params.layer_decay = 0.65  # as MAE fine-tunes ViT-B
train.output_dir = "output/fgvc/cars_full"
