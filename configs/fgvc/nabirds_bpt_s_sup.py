"""NABirds, frozen ViT-B supervised on ImageNet-21k, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/nabirds_bpt_s_sup.py
Data:   NABirds, laid out as in datasets/README.md; weights by timm, see README.md
Result: published 86.2 top-1; ours: not measured yet
"""

from .nabirds_bpt_s import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.checkpoint = "timm:vit_base_patch16_224.augreg_in21k"
model.pooling = "cls"
optimizer.lr = 1e-2
optimizer.weight_decay = 5e-2
optimizer.params.head_weight_decay = 5.0
train.output_dir = "output/fgvc/nabirds_bpt_s_sup"
