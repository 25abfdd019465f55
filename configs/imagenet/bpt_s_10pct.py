"""10 % of ImageNet-1k, frozen MAE ViT-B, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/bpt_s_10pct.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 64.63 top-1; ours: not measured yet
"""

from .bpt_s import data, dataloader, lr_multiplier, model, optimizer, train

dataloader.fraction = 10
optimizer.params.head_weight_decay = 1e-1
train.output_dir = "output/imagenet/bpt_s_10pct"
