"""Cascade Mask R-CNN, frozen MAE ViT-B, shallow free prompts (VPT), COCO 2017, 3x schedule.

Run:    python tools/train_net.py --config-file configs/coco/cascade_vpt_s.py --num-gpus 8
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 36.78 box AP, 32.63 mask AP; ours: not measured yet
"""

from detectron2.config import LazyCall as L

from bpt_det.prompts import FreePrompt

from .cascade_bpt_s import dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.prompt = L(FreePrompt)(
    embed_dim="${..vit.embed_dim}", patch_size="${..vit.patch_size}", prompt_length=100
)
train.output_dir = "output/coco/cascade_vpt_s"
