"""VPT's recipe, part by part, against its published lines written anew (KMnP/vpt@4410440)."""

import math

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from bpt_det.classification import ClassificationMapper, PromptedClassifier
from bpt_det.classification.in_memory_loader import InMemoryLoader
from bpt_det.config.loading import load_config
from bpt_det.engine import build_cosine_schedule
from bpt_det.engine.optim import build_optimizer, scale_learning_rate
from bpt_det.prompts import BilinearPrompt, FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from tests.support.vits import TINY_SIZES, tiny_vit

WIDTH, PATCH = TINY_SIZES["embed_dim"], TINY_SIZES["patch_size"]
NUM_CLASSES, LENGTH = 7, 3
PIXELS = dict(pixel_mean=[120.0, 110.0, 100.0], pixel_std=[60.0, 55.0, 50.0])


def build(vit, *, dropout=0.0, frozen=True, **settings):
    prompt = FreePrompt(LENGTH, WIDTH, PATCH)
    backbone = PromptedViT(vit, prompt, "all", frozen=frozen, prompt_dropout=dropout)
    return PromptedClassifier(backbone, NUM_CLASSES, **PIXELS, **settings)


def as_published(model, images, dropout):
    """src/models/vit_prompt/vit_mae.py `forward_features` and src/models/mlp.py, deep prompts."""
    vit, prompts = model.backbone.vit, model.backbone.prompts
    patches = vit.patch_embed(images).flatten(1, 2)
    class_tokens = vit.cls_token.expand(len(images), -1, -1)
    x = torch.cat((class_tokens, patches), dim=1) + vit.pos_embed
    for index, block in enumerate(vit.blocks):
        own = dropout(prompts[str(index)].tokens.expand(len(images), -1, -1))
        x = torch.cat((x[:, :1], own, x[:, 1 + LENGTH * (index > 0) :]), dim=1)
        x = block(x)
    x = x[:, 1:].mean(dim=1)
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt() @ model.head.weight.T + model.head.bias


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_logits_equal_the_published_forward_pass_with_its_dropout(dropout):
    vit = tiny_vit()
    size = vit.patch_embed.img_size[0]
    nn.init.normal_(vit.norm.weight)  # of a pre-training, which VPT throws away
    model = build(vit, dropout=dropout, final_norm="identity", head_init="kaiming").double()
    model.train()
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.manual_seed(5)
    ours = model.classify(model.backbone.forward_tokens(images))
    torch.manual_seed(5)
    expected = as_published(model, images, nn.Dropout(dropout))
    torch.testing.assert_close(ours, expected.float())
    model.eval()
    expected = as_published(model, images, nn.Identity())
    torch.testing.assert_close(
        model.classify(model.backbone.forward_tokens(images)), expected.float()
    )


@pytest.mark.parametrize("frozen", [True, False])
def test_the_new_norm_is_trained_only_with_the_vit(frozen):
    model = build(tiny_vit(), frozen=frozen, final_norm="identity")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("backbone.vit.norm.") for name in trained)
    assert {name for name in trained if name.startswith("own_norm")} == (
        set() if frozen else {"own_norm.weight", "own_norm.bias"}
    )
    assert model.checkpoint_settings["final_norm"] == "identity"


def test_the_head_starts_with_a_prior_of_1_percent_and_a_variance_of_2_by_classes():
    vit = tiny_vit()
    model = PromptedClassifier(PromptedViT(vit), 4000, **PIXELS, head_init="kaiming")
    assert model.head.bias.unique().tolist() == pytest.approx([-math.log(0.99 / 0.01)])
    assert model.head.weight.var().item() == pytest.approx(2 / 4000, rel=0.05)


@pytest.mark.parametrize(
    ("scale", "head_init", "first_iteration", "num_warnings"),
    [
        (20, "kaiming", 0, 1),
        (20, "kaiming", 5, 0),
        (1, "kaiming", 0, 0),
        (20, "truncated_normal", 0, 0),
    ],
)
def test_a_head_that_starts_far_above_the_loss_of_chance_is_warned_of_once(
    scale, head_init, first_iteration, num_warnings, caplog
):
    vit = tiny_vit()
    nn.init.constant_(vit.norm.weight, scale)  # features of a norm whose scale is large
    torch.manual_seed(0)
    model = build(vit, head_init=head_init).double().train()
    size = vit.patch_embed.img_size[0]
    batch = [{"image": torch.full((3, size, size), 90.0 * i), "label": i} for i in range(3)]
    with EventStorage(first_iteration) as storage:
        for _ in range(2):
            loss = model(batch)["loss_ce"].item()
            storage.step()
    assert (loss > 2 * math.log(NUM_CLASSES)) == (scale > 1 and head_init == "kaiming")
    warnings = [record.getMessage() for record in caplog.records if "first loss" in record.msg]
    assert len(warnings) == num_warnings
    assert all(f"The first loss is {loss:.1f}, that of chance 1.9" in text for text in warnings)


def test_the_rate_changes_once_an_epoch_and_the_first_has_none():
    """src/solver/lr_scheduler.py `WarmupCosineSchedule.lr_lambda`, called with the epoch."""
    num_epochs, warmup, per_epoch, rate = 20, 2, 7, 0.3
    max_iter = num_epochs * per_epoch
    schedule = build_cosine_schedule(max_iter, warmup / num_epochs, rate, 0.0, num_epochs)
    for iteration in range(max_iter):
        epoch = iteration // per_epoch
        if epoch < warmup:
            expected = epoch / warmup
        else:
            progress = (epoch - warmup) / (num_epochs - warmup)
            expected = 0.5 * (1 + math.cos(math.pi * progress))
        assert schedule(iteration / max_iter) == pytest.approx(expected, abs=1e-9)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 57, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).resize((114, 80), Image.Resampling.BILINEAR).save(path)
    return path


def published_crops(path, size, resize):
    """All crops that src/data/transforms.py can make: Resize, RandomCrop, flip."""
    resized = v2.functional.pil_to_tensor(
        v2.Resize(resize, interpolation=v2.InterpolationMode.BILINEAR)(Image.open(path))
    )
    for top in range(resized.shape[1] - size + 1):
        for left in range(resized.shape[2] - size + 1):
            crop = resized[:, top : top + size, left : left + size]
            yield from (crop, crop.flip(2))


def test_a_training_crop_is_one_of_the_resized_image(picture):
    mapper = ClassificationMapper(24, 30, crop="random", interpolation="bilinear")
    record = {"file_name": str(picture), "image_id": "a", "label": 0}
    known = {crop.numpy().tobytes() for crop in published_crops(picture, 24, 30)}
    crops = {mapper(record)["image"].contiguous().numpy().tobytes() for _ in range(20)}
    assert crops <= known and len(crops) > 10


def test_images_in_memory_are_cropped_as_published(picture):
    mapper = ClassificationMapper(24, 30, crop="random", interpolation="bilinear")
    records = [{"file_name": str(picture), "image_id": "a", "label": 0}]
    known = torch.stack(list(published_crops(picture, 24, 30))).int()
    batches = iter(InMemoryLoader(records, mapper, 2, seed=1))
    crops = [sample["image"] for _ in range(6) for sample in next(batches)]
    distances = [(known - crop.int()).abs().amax(dim=(1, 2, 3)).min().item() for crop in crops]
    assert max(distances) <= 1  # Pillow computes in fixed point
    assert len({crop.numpy().tobytes() for crop in crops}) > 6


@pytest.mark.parametrize(
    ("build_it", "text"),
    [
        (lambda: ClassificationMapper(crop="center"), "crop must be one of resized, random, got"),
        (
            lambda: ClassificationMapper(interpolation="nearest"),
            "interpolation must be one of bicubic, bilinear, got 'nearest'",
        ),
        (lambda: build(tiny_vit(), head_init="zeros"), "head_init must be one of truncated_normal"),
        (lambda: build(tiny_vit(), final_norm="none"), "final_norm must be one of pretrained, ide"),
        (lambda: build(tiny_vit(), dropout=1.0), r"prompt_dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(build_it, text):
    with pytest.raises(InputError, match=text):
        build_it()


def test_a_step_of_the_composed_optimizer_equals_the_published_update():
    """src/solver/optimizer.py: SGD with momentum; decay in the gradient, none for head.bias."""
    cfg = load_config("fgvc/cub", ["method=bpt_s", "recipe=vpt", "optimizer.weight_decay=0.1"])
    assert cfg.train.reference_batch_size == 256
    prompt = BilinearPrompt(LENGTH, 2, WIDTH)
    model = PromptedClassifier(PromptedViT(tiny_vit(), prompt), NUM_CLASSES, **PIXELS)
    model.double()
    optimizer = build_optimizer(cfg, model)
    scale_learning_rate(optimizer, 64, cfg.train.reference_batch_size)
    rate, momentum, decay = 1.0 / 256 * 64, 0.9, 0.1
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    expected = {name: p.detach().clone() for name, p in trained.items()}
    velocity = {name: 0.0 for name in trained}
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        for name, parameter in trained.items():
            gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = gradient
            with_decay = gradient + (0 if name == "head.bias" else decay) * expected[name]
            velocity[name] = momentum * velocity[name] + with_decay
            expected[name] = expected[name] - rate * velocity[name]
        optimizer.step()
    for name, parameter in trained.items():
        torch.testing.assert_close(parameter.detach(), expected[name])
