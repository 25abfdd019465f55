"""Stanford Dogs, frozen ViT-B supervised on ImageNet-21k, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs_bpt_s_sup.py
Data:   Stanford Dogs, laid out as in datasets/README.md; weights by timm, see README.md
Result: published 89.4 top-1; ours: not measured yet
"""

from .dogs_bpt_s import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.checkpoint = "timm:vit_base_patch16_224.augreg_in21k"
model.pooling = "cls"
optimizer.lr = 5e-3
optimizer.weight_decay = 1e-2
optimizer.params.head_weight_decay = 3.0
train.output_dir = "output/fgvc/dogs_bpt_s_sup"
