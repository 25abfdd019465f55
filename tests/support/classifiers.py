"""Tiny classifiers: any config of ours with every size cut down."""

from omegaconf import DictConfig


def shrink_classifier(cfg: DictConfig, batch_size: int, num_workers: int = 0) -> DictConfig:
    """Cut the sizes of a BPT-S classification config in place; it runs on the CPU."""
    sizes = {"embed_dim": 16, "num_blocks": 2, "num_heads": 2, "patch_size": 8}
    cfg.model.backbone.vit.update(**sizes, pretrain_size=16, checkpoint=None)
    cfg.model.backbone.prompt.update(prompt_length=3, rank=2)
    cfg.dataloader.update(image_size=16, resize_size=18)
    cfg.dataloader.train.update(total_batch_size=batch_size, num_workers=num_workers)
    cfg.dataloader.test.num_workers = 0
    cfg.train.device = "cpu"
    return cfg
