"""CUB-200-2011, frozen MoCo v3 ViT-B, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/cub_bpt_s_moco.py
Data:   CUB-200-2011, laid out as in datasets/README.md; MoCo v3 ViT-B weights, see README.md
Result: not published by dataset; ours: not measured yet
"""

from .cub_bpt_s import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.checkpoint = "weights/vit-b-300ep.pth.tar"
model.pooling = "cls"
optimizer.lr = 5e-2
optimizer.weight_decay = 5e-3
optimizer.params.head_weight_decay = 0.1
train.output_dir = "output/fgvc/cub_bpt_s_moco"
