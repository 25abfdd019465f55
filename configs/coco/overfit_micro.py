"""Overfitting test: the micro detector memorizes 8 COCO images.

Run:    make overfit
Data:   COCO 2017 train (the images below), laid out as in datasets/README.md
Target: box AP50 >= 50 and mask AP50 >= 40 on the same 8 images, within 15 minutes on 2 cores

Every annotation of the images is used. They were picked for having 4 to 8 objects and no crowd.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from ..common.data.coco_lsj import data, dataloader
from ..common.models.cascade_mask_rcnn_micro import model
from ..common.optimizer import optimizer
from ..common.prompts import bilinear as _bilinear
from ..common.schedule_3x import lr_multiplier
from ..common.train import train

model.backbone.net.vit.checkpoint = None  # random weights will do, and have seen no shapes
model.backbone.net.prompt = _bilinear
model.backbone.net.prompt.update(prompt_length=20, rank=10)
model.proposal_generator.anchor_generator.sizes = [[16], [32], [64], [128]]

dataloader.image_size = 224
photographs = [60623, 196393, 294920, 352257, 358083, 501760, 522418, 565248]
dataloader.train.dataset.image_ids = photographs
dataloader.train.mapper.augmentations = [
    L(T.ResizeShortestEdge)(
        short_edge_length="${dataloader.image_size}", max_size="${dataloader.image_size}"
    )
]
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 0
dataloader.test.dataset = dataloader.train.dataset

optimizer.lr = 1e-3
lr_multiplier.warmup_iters = 50
train.max_iter = train.eval_period = train.checkpointer.period = 300
train.output_dir = "output/coco/overfit_micro"
