"""Base: Cascade Mask R-CNN on a DINOv2 ViT for one's own images, 500 or so, on one GPU.

Run:    bpt-det train --config-file custom/cascade_bpt_s data.train=PATH \
            train.output_dir=output/mine
Data:   docs/how_to/custom_data.md; DINOv2 weights (Apache 2.0: products are allowed) are fetched by
        timm at the first run, or beforehand:
        python -c "import timm; timm.create_model('vit_base_patch14_dinov2.lvd142m', True)"
Result: not measured
"""

from detectron2.config import LazyCall as L

from bpt_det.detection import ColorJitter, RandomBlur, RandomRotation, RandomVerticalFlip
from bpt_det.engine import build_cosine_schedule

from ..common.data.coco_lsj import data, dataloader
from ..common.models.cascade_mask_rcnn_vit_b import model
from ..common.optimizer import optimizer
from ..common.train import train
from ..common.vits import mae_b as _mae_b, of_detectors as _of_detectors

model.backbone.net.vit.update(_of_detectors["vit=dinov2_b"]["model.backbone.net.vit"])
model.backbone.net.final_norm = True  # as DINO's authors
dataloader.train.dataset.names = dataloader.test.dataset.names = None  # data.train names them
dataloader.train.total_batch_size = 4  # 24 GB at 1024 pixels; the learning rate is scaled to it
dataloader.train.repeat_thresh = None  # 0.05: classes in fewer than 5 % of the images come oftener
# Beyond horizontal flip and jitter; 0 is off. Settings that make a picture wrong teach the wrong.
dataloader.augmentation = dict(
    vertical_flip=0.0,  # probability; 0.5 for pictures from above
    rotation=0.0,  # degrees to either side; boxes without masks grow with it
    color=0.0,  # 0.3: brightness, contrast and saturation by up to 30 %
    blur=0.0,  # largest sigma in pixels, of half of the images
)
_flip, _jitter = dataloader.train.mapper.augmentations
_jitter.update(min_scale=0.5, max_scale=1.5)  # runs are short
dataloader.train.mapper.augmentations = [
    _flip,
    L(RandomVerticalFlip)(prob="${dataloader.augmentation.vertical_flip}"),
    L(RandomRotation)(max_angle="${dataloader.augmentation.rotation}"),
    _jitter,
    L(ColorJitter)(
        strength="${dataloader.augmentation.color}", image_format="${model.input_format}"
    ),
    L(RandomBlur)(max_sigma="${dataloader.augmentation.blur}"),
]

lr_multiplier = L(build_cosine_schedule)(
    max_iter="${train.max_iter}", warmup=0.05, base_lr="${optimizer.lr}", final_lr=0.0
)
train.update(epochs=50, eval_epochs=1)
train.early_stopping.patience = 10
train.checkpointer.max_to_keep = 1

choices = {
    "vit=dinov2_b": {},
    "vit=dinov2_s": _of_detectors["vit=dinov2_s"],
    "vit=mae_b": {"model.backbone.net.vit": _mae_b, "model.backbone.net.final_norm": False},
}
