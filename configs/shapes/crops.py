"""Base: a linear head on a micro ViT, crops of rendered shapes; for two CPU cores.

Run:    python tools/train_cls.py --config-file configs/shapes/crops.py method=NAME \
            [recipe=vpt|ours]
Data:   python -m bpt_det.shapes --crops --output datasets/shapes_crops
Result: docs/how_to/classification.md
"""

from ..common.classification import lr_multiplier, optimizer, train
from ..common.data.classification import data, dataloader
from ..common.models.classifier_micro import model
from ..common.recipe_vpt import recipe_vpt_mae as _vpt_mae
from ..common.recipes import recipes as _recipes

data.name = "shapes_crops"
dataloader.image_size = dataloader.resize_size = 64
# A crop that is random and resized hides how much of the picture a shape fills, which is most of
# what random features tell.
dataloader.train.mapper.augment = False
dataloader.train.num_workers = dataloader.test.num_workers = 1
model.num_classes = 10
optimizer.lr = 1.5e-1  # the better of 5e-2 and 1.5e-1 on the validation crops
optimizer.params.head_weight_decay = 1e-3
train.epochs = 8
train.log_period = 10

# Rates are the best of 1e-2, 5e-2 and 1.5e-1 on the validation crops.
_LENGTH, _RANK = "model.backbone.prompt.prompt_length", "model.backbone.prompt.rank"
choices = {
    "method=*_s": {_LENGTH: 20},
    "method=*_d*": {_LENGTH: 10},
    "method=*bpt_*": {_RANK: 10},
    "method=vpt_s": {"optimizer.lr": 5e-2},
    "method=fwhiten_s": {"optimizer.lr": 1e-2},
    # Without random crops, the first 2 blocks run once for each image.
    "method=bpt_d": {"optimizer.lr": 1e-2, "dataloader.cache_prefix": True},
    "method=full": {
        "optimizer.lr": 1e-3,
        "optimizer.weight_decay": 0.05,
        "optimizer.params": dict(head_weight_decay=0.05, layer_decay=0.75),
    },
    **_recipes,
    "recipe=vpt method=*": _vpt_mae,
}
