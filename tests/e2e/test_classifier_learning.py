"""Linear head and prompts learn five classes to the last training image, by the tool itself."""

import numpy as np
import pytest
from detectron2.config import LazyConfig
from PIL import Image

from bpt_det.cli.train_cls import main
from bpt_det.config import load_config
from bpt_det.engine.metrics import read_final_metrics
from tests.support.paths import ROOT

CUB_CLASSES = ("001", "012", "014", "047", "188")


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Function that trains on a folder, evaluates its training images, and returns the metrics."""
    monkeypatch.chdir(ROOT)

    def run(images, image_size, max_iter, **vit):
        cfg = load_config("configs/fgvc/cub.py", ["method=bpt_d"])
        cfg.model.backbone.vit.update(vit)
        cfg.model.backbone.prompt.update(prompt_length=10, rank=5)
        cfg.dataloader.update(image_size=image_size, resize_size=image_size)
        cfg.dataloader.train.num_workers = cfg.dataloader.test.num_workers = 0
        cfg.dataloader.train.mapper.augment = False
        cfg.dataloader.test.dataset.split = "train"
        del cfg.dataloader["final_test"], cfg.dataloader["final_evaluator"]
        cfg.dataloader.cache_prefix = True  # what enters the last 4 blocks is computed once
        cfg.dataloader.train.total_batch_size = 9
        cfg.optimizer.params.head_weight_decay = 0.0
        cfg.train.update(device="cpu", output_dir=str(tmp_path / "run"))
        LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
        arguments = ["--config-file", str(tmp_path / "config.yaml"), f"data=folder:{images}"]
        arguments += [f"train.max_iter={max_iter}", "train.eval_period=0"]
        arguments += ["train.checkpointer.period=1000"]
        assert main(arguments) == 0
        return read_final_metrics(tmp_path / "run", "val/top1")

    return run


def test_five_colors_are_learned_to_the_last_training_image(train, tmp_path):
    generator = np.random.default_rng(0)
    for label, color in enumerate(np.eye(5, 3) * 120 + 60):
        for number in range(9):
            pixels = (color + generator.normal(0, 20, (18, 22, 3))).clip(0, 255)
            path = tmp_path / f"images/class_{label}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    # Classes 3 and 4 have one color, so they differ in brightness.
    for path in (tmp_path / "images/class_4").iterdir():
        Image.eval(Image.open(path), lambda value: 255 - value // 2).save(path)
    sizes = {"embed_dim": 24, "num_blocks": 5, "num_heads": 2, "patch_size": 8}
    metrics = train(*(tmp_path / "images", 16, 40), **sizes, pretrain_size=16, checkpoint=None)
    assert metrics["val/top1"] == 100.0


@pytest.mark.slow
def test_five_real_birds_are_learned_to_the_last_training_image(
    train, tmp_path, cub_root, mae_tiny_path
):
    for folder in sorted((cub_root / "images").iterdir()):
        if folder.name[:3] in CUB_CLASSES:
            (tmp_path / "birds" / folder.name).mkdir(parents=True)
            for image in sorted(folder.iterdir())[:6]:
                (tmp_path / "birds" / folder.name / image.name).symlink_to(image)
    assert len(list((tmp_path / "birds").iterdir())) == 5
    sizes = {"embed_dim": 192, "num_blocks": 12, "num_heads": 3, "patch_size": 8}
    metrics = train(
        *(tmp_path / "birds", 64, 40),
        **sizes,
        pretrain_size=64,
        checkpoint=str(mae_tiny_path),
    )
    assert metrics["val/top1"] == 100.0
