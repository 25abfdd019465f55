"""Base: Cascade Mask R-CNN on a MAE ViT-B, LVIS v1, 37 epochs, federated loss.

Run:    python tools/train_net.py --config-file configs/lvis/cascade.py --num-gpus 8 \
            method=NAME [vit=vit_l|vit_h]
Data:   LVIS v1 and the images of COCO 2017, laid out as in datasets/README.md; MAE weights, see
        docs/how_to/coco.md
Result: not measured yet; ViTDet-B trained as a whole for 100 epochs has 43.0 box and 38.9 mask AP

Federated loss, repeat factors and limits are ViTDet's (Detectron2's main branch,
projects/ViTDet/configs/LVIS); the schedule is ours.
"""

from detectron2.config import LazyCall as L

from bpt_det.detection import FederatedOutputLayers, ImageCountWeights, LvisEvaluator

from ..coco.cascade import choices, data, dataloader, lr_multiplier, model, optimizer, train

model.roi_heads.num_classes = 1203
for _predictor in model.roi_heads.box_predictors:
    _predictor.update(
        _target_=FederatedOutputLayers,
        get_fed_loss_cls_weights=L(ImageCountWeights)(
            dataset_names="${dataloader.train.dataset.names}", freq_weight_power=0.5
        ),
        fed_loss_num_classes=50,
        test_score_thresh=0.02,
        test_topk_per_image=300,
    )

dataloader.train.dataset.names = "lvis_v1_train"
dataloader.train.repeat_thresh = 0.001
dataloader.test.dataset.names = "lvis_v1_val"
dataloader.evaluator = L(LvisEvaluator)(
    dataset_name="${..test.dataset.names}",
    output_dir="${train.output_dir}/inference",
    max_dets_per_image=300,
)

train.max_iter = round(37 * 100_170 / 16)
train.eval_period = 30_000
train.output_dir = "output/lvis/cascade"
