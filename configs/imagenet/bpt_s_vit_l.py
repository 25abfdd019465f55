"""ImageNet-1k, frozen MAE ViT-L, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/bpt_s_vit_l.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-L weights, see README.md
Result: not published at 100 % (see bpt_s_vit_l_10pct.py); ours: not measured yet
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from .bpt_s import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.update(
    **_ARCHITECTURES["vit_l"], checkpoint="weights/mae_pretrain_vit_large.pth"
)
optimizer.lr = 0.2
train.output_dir = "output/imagenet/bpt_s_vit_l"
