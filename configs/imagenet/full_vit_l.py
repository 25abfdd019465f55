"""ImageNet-1k, MAE ViT-L fully fine-tuned without prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/full_vit_l.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-L weights, see README.md
Result: published 69.46 top-1 at dataloader.fraction=10; ours: not measured yet
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.update(
    **_ARCHITECTURES["vit_l"], checkpoint="weights/mae_pretrain_vit_large.pth"
)
model.backbone.frozen = False
model.backbone.vit.drop_path_rate = 0.1
optimizer.lr = 4e-3
optimizer.weight_decay = optimizer.params.head_weight_decay = 0.05
optimizer.params.layer_decay = 0.75  # as MAE fine-tunes ViT-L; not stated in the paper
train.epochs = 50
train.output_dir = "output/imagenet/full_vit_l"
