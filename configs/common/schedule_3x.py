"""Schedule of 37 COCO epochs (3x) at 16 images per iteration; drops after epochs 27 and 33."""

from detectron2.config import LazyCall as L

from bpt_det.engine import build_multistep_schedule

from .train import train

iterations_per_epoch = 118_287 / 16
train.max_iter = round(37 * iterations_per_epoch)  # 273.5k
train.eval_period = round(iterations_per_epoch)

lr_multiplier = L(build_multistep_schedule)(
    max_iter="${train.max_iter}", milestones=[27 / 37, 33 / 37], warmup_iters=250
)
