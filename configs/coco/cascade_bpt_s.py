"""Cascade Mask R-CNN, frozen MAE ViT-B, shallow bilinear prompts, COCO 2017, 3x schedule.

Run:    python tools/train_net.py --config-file configs/coco/cascade_bpt_s.py --num-gpus 8
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 43.01 box AP, 38.83 mask AP; ours: not measured yet
"""

from detectron2.config import LazyCall as L

from bpt_det.prompts import BilinearPrompt

from ..common.data.coco_lsj import dataloader
from ..common.models.cascade_mask_rcnn_vit_b import model
from ..common.optimizer import optimizer
from ..common.schedule_3x import lr_multiplier, train

model.backbone.net.prompt = L(BilinearPrompt)(
    embed_dim="${..vit.embed_dim}", prompt_length=100, rank=100
)
train.output_dir = "output/coco/cascade_bpt_s"
