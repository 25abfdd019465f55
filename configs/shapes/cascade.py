"""Base: Cascade Mask R-CNN on a micro ViT, rendered shapes; for two CPU cores.

Run:    python tools/train_net.py --config-file configs/shapes/cascade.py method=NAME
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: docs/reproduction/results.md
"""

from detectron2.config import LazyCall as L

from bpt_det.engine import build_cosine_schedule

from ..common.data.coco_lsj import data, dataloader
from ..common.models.cascade_mask_rcnn_micro import model
from ..common.optimizer import optimizer
from ..common.train import train

model.roi_heads.num_classes = 10
# Box heads without a convolution, but as wide as this, learn more in so short a run.
for _head, _predictor in zip(
    model.roi_heads.box_heads, model.roi_heads.box_predictors, strict=True
):
    _head.conv_dims, _head.fc_dims = [], [512]
    _predictor.input_shape.channels = 512
# One sample per bin instead of one per cell: as good on objects this small, with a faster gradient.
for _pooler in (model.roi_heads.box_pooler, model.roi_heads.mask_pooler):
    _pooler.sampling_ratio = 1

dataloader.image_size = 128
dataloader.train.dataset.names = "shapes_train"
dataloader.train.mapper.instance_mask_format = "bitmask"  # objects with holes are RLE
dataloader.train.mapper.augmentations[1].update(min_scale=0.8, max_scale=1.25)
dataloader.train.total_batch_size = 2  # not 4: as many images in smaller steps teach more
data.reference_batch_size = 2
dataloader.train.num_workers = dataloader.test.num_workers = 0
dataloader.test.dataset.names = "shapes_val"

optimizer.lr = 1e-3
optimizer.params.prompt_lr_factor = 10.0
lr_multiplier = L(build_cosine_schedule)(
    max_iter="${train.max_iter}", warmup=0.06, base_lr="${optimizer.lr}", final_lr=0.0
)
train.max_iter = 1400
train.eval_period = train.checkpointer.period = 1400

_LENGTH, _RANK = "model.backbone.net.prompt.prompt_length", "model.backbone.net.prompt.rank"
choices = {
    "method=*_s": {_LENGTH: 20},
    "method=*_d*": {_LENGTH: 10},
    "method=[sv]pt_d": {_LENGTH: 5},
    "method=*bpt_*": {_RANK: 10},
    "method=full": {"optimizer.params.layer_decay": 0.7},  # as ViTDet-B
}
