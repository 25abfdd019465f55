"""CUB-200-2011, frozen ViT-B supervised on ImageNet-21k, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/cub_bpt_s_sup.py
Data:   CUB-200-2011, laid out as in datasets/README.md; weights by timm, see README.md
Result: published 90.1 top-1; ours: not measured yet
"""

from .cub_bpt_s import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.checkpoint = "timm:vit_base_patch16_224.augreg_in21k"
model.backbone.prompt.rank = 25
model.pooling = "cls"
optimizer.lr = 5e-3
optimizer.weight_decay = 0.1
optimizer.params.head_weight_decay = 10.0
train.output_dir = "output/fgvc/cub_bpt_s_sup"
