"""ImageNet-1k, MAE ViT-2B fully fine-tuned without prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/full_vit_2b.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAWS ViT-2B weights, see README.md
Result: published 76.82 top-1 at dataloader.fraction=10; ours: not measured yet
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.vit.update(**_ARCHITECTURES["vit_2b"], checkpoint="weights/vit_2b14.pt")
model.backbone.frozen = False
model.backbone.vit.drop_path_rate = 0.3
optimizer.lr = 1e-2
optimizer.weight_decay = optimizer.params.head_weight_decay = 0.05
optimizer.params.layer_decay = 0.75  # as MAE fine-tunes ViT-H; not stated in the paper
train.epochs = 35
train.output_dir = "output/imagenet/full_vit_2b"
