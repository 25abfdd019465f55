"""Stanford Dogs, frozen MoCo v3 ViT-B, bilinear prompts in the last 4 blocks.

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs_bpt_d_moco.py
Data:   Stanford Dogs, laid out as in datasets/README.md; MoCo v3 ViT-B weights, see README.md
Result: not published by dataset; ours: not measured yet
"""

from .dogs_bpt_d import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.checkpoint = "weights/vit-b-300ep.pth.tar"
model.pooling = "cls"
optimizer.lr = 5e-2
optimizer.weight_decay = 2e-3
optimizer.params.head_weight_decay = 0.1
train.output_dir = "output/fgvc/dogs_bpt_d_moco"
