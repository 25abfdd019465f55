"""ImageNet-1k, MAE ViT-B fully fine-tuned without prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/full.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 76.39 top-1; ours: not measured yet
"""

from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.frozen = False
model.backbone.vit.drop_path_rate = 0.1
optimizer.lr = 4e-3
optimizer.weight_decay = optimizer.params.head_weight_decay = 0.05
optimizer.params.layer_decay = 0.65  # as MAE fine-tunes ViT-B; not stated in the paper
train.output_dir = "output/imagenet/full"
