"""Base: a linear head on a MAE ViT-B, ImageNet-1k.

Run:    python tools/train_cls.py --config-file configs/imagenet.py --num-gpus 8 \
            method=NAME [vit=vit_l|vit_h|vit_2b] [fraction=1pct|3pct|10pct|30pct] \
            [recipe=vpt|ours]
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE or MAWS weights, see README.md
Result: docs/reproduction/published.md; ours: not measured yet
Source: Table 8 of the supplementary of arXiv:2506.22908
"""

from .common.classification import data, dataloader, lr_multiplier, model, optimizer, train
from .common.recipe_vpt import recipe_vpt_mae as _vpt_mae
from .common.recipes import recipes as _recipes
from .common.vits import vit_2b as _vit_2b, vit_h as _vit_h, vit_l as _vit_l

data.name = "imagenet"
model.num_classes = 1000
dataloader.train.total_batch_size = 1024
optimizer.lr = 0.1
optimizer.weight_decay = 0.01  # Table 8; the published script has 1e-3
optimizer.params.head_weight_decay = 1e-2

_VIT, _LR, _DECAY = "model.backbone.vit", "optimizer.lr", "optimizer.weight_decay"
_HEAD_DECAY, _LAYER_DECAY = "optimizer.params.head_weight_decay", "optimizer.params.layer_decay"
_DROP_PATH, _FRACTION = "model.backbone.vit.drop_path_rate", "dataloader.fraction"
choices = {
    "vit=vit_b": {},
    "vit=vit_l": {_VIT: _vit_l, _LR: 0.2},
    "vit=vit_h": {_VIT: _vit_h, _LR: 0.2},
    "vit=vit_2b": {_VIT: _vit_2b, _LR: 0.3},
    "fraction=100pct": {},
    "fraction=1pct": {_FRACTION: 1, _HEAD_DECAY: 5e-1},
    "fraction=3pct": {_FRACTION: 3, _HEAD_DECAY: 5e-1},
    "fraction=10pct": {_FRACTION: 10, _HEAD_DECAY: 1e-1},
    "fraction=30pct": {_FRACTION: 30, _HEAD_DECAY: 1e-1},
    "method=*bpt_s": {"model.backbone.prompt.rank": 25},
    # The decay by layers is MAE's, for ViT-B and for larger ones; not stated in the paper.
    "method=full": {_LR: 4e-3, _DECAY: 0.05, _HEAD_DECAY: 0.05, _LAYER_DECAY: 0.65},
    "method=full vit=vit_l": {_LAYER_DECAY: 0.75, "train.epochs": 50},
    "method=full vit=vit_h": {_LAYER_DECAY: 0.75, "train.epochs": 50, _DROP_PATH: 0.2},
    "method=full vit=vit_2b": {_LR: 1e-2, _LAYER_DECAY: 0.75, "train.epochs": 35, _DROP_PATH: 0.3},
    **_recipes,
    "recipe=vpt method=*": _vpt_mae,
}
