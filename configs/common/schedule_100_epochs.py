"""Schedule of 100 epochs: linear warm-up for 10 of them, then a cosine decay to 1e-8."""

from detectron2.config import LazyCall as L

from bpt_det.engine import build_cosine_schedule

from .train import train

train.update(
    epochs=100,  # converted to train.max_iter by the number of training images
    eval_epochs=1,  # epochs between evaluations, converted to train.eval_period
)
train.best_metric = "val/top1"
train.curves = ["train/top1", "val/top1", "val/top5", "val_ema/top1", "val/loss"]

lr_multiplier = L(build_cosine_schedule)(
    max_iter="${train.max_iter}",
    warmup=10 / 100,
    base_lr="${optimizer.lr}",
    final_lr=1e-8,
    num_steps=None,  # VPT: as many as epochs
)
