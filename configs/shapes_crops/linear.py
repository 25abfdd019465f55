"""A linear head on a frozen micro ViT without prompts, crops of shapes.

Run:    python tools/train_cls.py --config-file configs/shapes_crops/linear.py
Data:   python -m bpt_det.shapes --crops --output datasets/shapes_crops
Result: see README.md
"""

from ..common.classification import lr_multiplier, optimizer, train
from ..common.data.classification import data, dataloader
from ..common.models.classifier_micro import model

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
train.output_dir = "output/shapes_crops/linear"
