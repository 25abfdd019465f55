"""Recipes of the five fine-grained datasets (FGVC): the `choices` of the base of each.

Source: the supplementary of arXiv:2506.22908, but for full fine-tuning, whose recipe is ours.
"""

from .recipe_vpt import recipe_vpt_mae as _vpt_mae
from .recipes import recipes as _common

# Learning rate, weight decay, weight decay of the head.
_recipes = dict(
    cub=dict(mae=(5e-2, 5e-3, 0.5), moco=(5e-2, 5e-3, 0.1), supervised=(5e-3, 0.1, 10.0)),
    nabirds=dict(mae=(5e-2, 5e-3, 0.1), moco=(5e-2, 1e-3, 0.05), supervised=(1e-2, 5e-2, 5.0)),
    flowers=dict(mae=(1e-1, 5e-3, 1.0), moco=(5e-2, 1e-3, 0.05), supervised=(1e-2, 5e-4, 10.0)),
    dogs=dict(mae=(5e-2, 5e-3, 0.1), moco=(5e-2, 2e-3, 0.1), supervised=(5e-3, 1e-2, 3.0)),
    cars=dict(mae=(5e-2, 2e-3, 0.1), supervised=(2e-2, 1e-2, 3.0)),
)
_LR, _DECAY = "optimizer.lr", "optimizer.weight_decay"
_HEAD_DECAY = "optimizer.params.head_weight_decay"
_RANK, _WEIGHTS = "model.backbone.prompt.rank", "model.backbone.vit.checkpoint"
_pretraining = dict(
    mae={},
    moco={_WEIGHTS: "weights/vit-b-300ep.pth.tar", "model.pooling": "cls"},
    supervised={_WEIGHTS: "timm:vit_base_patch16_224.augreg_in21k", "model.pooling": "cls"},
)

recipes = {
    data: {
        **{
            f"pretraining={name}": {
                _LR: rate,
                _DECAY: decay,
                _HEAD_DECAY: head_decay,
                **_pretraining[name],
            }
            for name, (rate, decay, head_decay) in rows.items()
        },
        "method=*bpt_s": {_RANK: 75},
        "method=full": {
            _LR: 4e-3 * 32 / 1024,  # ImageNet's, scaled to a batch of 32
            _DECAY: 0.05,
            _HEAD_DECAY: 0.05,
            "optimizer.params.layer_decay": 0.65,  # as MAE fine-tunes ViT-B
        },
    }
    for data, rows in _recipes.items()
}
recipes["cub"]["method=*bpt_s pretraining=supervised"] = {_RANK: 25}
# Deep prompts; not stated for flowers, which keep the recipe of shallow ones.
recipes["nabirds"]["method=*_d pretraining=mae"] = {_HEAD_DECAY: 0.3}
recipes["cars"]["method=*_d pretraining=mae"] = {_DECAY: 5e-3}
for _choices in recipes.values():
    _choices.update({**_common, "recipe=vpt pretraining=mae": _vpt_mae})
