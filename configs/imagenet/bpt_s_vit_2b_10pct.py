"""10 % of ImageNet-1k, frozen MAE ViT-2B, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/bpt_s_vit_2b_10pct.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAWS ViT-2B weights, see README.md
Result: published 79.80 top-1; ours: not measured yet
"""

from .bpt_s_vit_2b import data, dataloader, lr_multiplier, model, optimizer, train

dataloader.fraction = 10
optimizer.params.head_weight_decay = 1e-1
train.output_dir = "output/imagenet/bpt_s_vit_2b_10pct"
