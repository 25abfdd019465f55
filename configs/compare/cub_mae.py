"""The plan of cars.py on CUB-200-2011 and a small masked autoencoder, with MAE's recipe of BPT.

Run:    python tools/compare.py --plan configs/compare/cub_mae.py
Data:   CUB-200-2011, laid out as in datasets/README.md; tiny_imagenet_64.zip to pre-train with, or
        model.backbone.vit.checkpoint=PATH
Result: docs/reproduction/results.md; docs/reproduction/raw/2026-11-30_recipes.md has what was run
"""

from .cub import plan as _masked
from .cub_supervised import plan

_VIT = "model.backbone.vit."
_OWN = {_VIT + key for key in ("patch_size", "pretrain_size", "checkpoint")}
_OWN |= {"dataloader.image_size", "dataloader.resize_size"}

plan.update(
    name="cub_mae",
    title="CUB-200-2011, frozen ViT-Tiny, a masked autoencoder",
    about=(
        "ViT-Tiny (patches of 8 pixels), pre-trained as a masked autoencoder on photographs of 64 "
        "pixels, frozen, its tokens averaged; 64 pixels, 20 epochs in batches of 32, rate 5e-2, "
        "weight decay 0.5 of the head. All else as on Stanford Cars."
    ),
    before=_masked.before,
)
del plan.settings["model.pixel_mean"], plan.settings["model.pixel_std"]
plan.settings.update(
    {
        **{key: _masked.settings[key] for key in _OWN},
        "pretraining": "mae",
        "optimizer.lr": 5e-2,
        "optimizer.weight_decay": 5e-3,
    }
)
