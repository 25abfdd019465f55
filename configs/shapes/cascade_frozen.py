"""Cascade Mask R-CNN, frozen micro ViT without prompts, shapes.

Run:    python tools/train_net.py --config-file configs/shapes/cascade_frozen.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: see README.md
"""

from ..common.data.coco_lsj import data, dataloader
from ..common.models.cascade_mask_rcnn_micro import model
from ..common.optimizer import optimizer
from ..common.schedule_3x import lr_multiplier
from ..common.train import train

model.roi_heads.num_classes = 10
# Without a convolution the box heads learn more in as short a training, and sooner.
for _head, _predictor in zip(
    model.roi_heads.box_heads, model.roi_heads.box_predictors, strict=True
):
    _head.conv_dims, _head.fc_dims = [], [256]
    _predictor.input_shape.channels = 256

dataloader.image_size = 128
dataloader.train.dataset.names = "shapes_train"
dataloader.train.mapper.instance_mask_format = "bitmask"  # objects with holes are RLE
dataloader.train.mapper.augmentations[1].update(min_scale=0.8, max_scale=1.25)
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 0
dataloader.test.dataset.names = "shapes_val"

optimizer.lr = 1e-3
lr_multiplier.warmup_iters = 50
train.max_iter = 800
train.eval_period = train.checkpointer.period = 800
train.output_dir = "output/shapes/cascade_frozen"
