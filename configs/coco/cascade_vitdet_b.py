"""ViTDet: Cascade Mask R-CNN, ViT-B with window attention, trained as a whole, COCO, 100 epochs.

Run:    python tools/train_net.py --config-file configs/coco/cascade_vitdet_b.py --num-gpus 64
        with model.backbone.net.vit.checkpoint=weights/mae_pretrain_vit_base.pth to start from MAE;
        to evaluate the published model: --eval-only train.init_checkpoint=model_final_435fa9.pkl
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see docs/how_to/coco.md;
        the published model:
        dl.fbaipublicfiles.com/detectron2/ViTDet/COCO/cascade_mask_rcnn_vitdet_b/
        f325358525/model_final_435fa9.pkl
Result: docs/reproduction/published.md; ours: not measured yet
"""

from detectron2.config import LazyCall as L

from bpt_det.detection import ViTDetBackbone

from .cascade import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net = L(ViTDetBackbone)(
    vit=model.backbone.net.vit,
    image_size=1024,  # of the relative positions
    window_size=14,
    global_block_indexes=None,  # the last of each quarter: 2, 5, 8, 11
    out_feature="last_feat",
)
model.backbone.net.vit.update(checkpoint=None, drop_path_rate=0.1)

dataloader.train.total_batch_size = 64
optimizer.lr = 1e-4
optimizer.params.layer_decay = 0.7
train.max_iter = 184_375  # 100 epochs, as published
train.eval_period = 5000
lr_multiplier.milestones = [163_889 / 184_375, 177_546 / 184_375]
train.output_dir = "output/coco/cascade_vitdet_b"
