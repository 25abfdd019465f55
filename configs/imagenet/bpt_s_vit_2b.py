"""ImageNet-1k, frozen MAE ViT-2B, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/bpt_s_vit_2b.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAWS ViT-2B weights, see README.md
Result: not published at 100 % (see bpt_s_vit_2b_10pct.py); ours: not measured yet
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from .bpt_s import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.update(**_ARCHITECTURES["vit_2b"], checkpoint="weights/vit_2b14.pt")
optimizer.lr = 0.3
train.output_dir = "output/imagenet/bpt_s_vit_2b"
