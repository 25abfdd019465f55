"""The classifier against its formula written out; which parameters it trains."""

import math

import pytest
import torch
from detectron2.utils.events import EventStorage
from timm.models.vision_transformer import VisionTransformer

from bpt_det.classification.classifier import PromptedClassifier
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from tests.support.vits import TINY_SIZES, tiny_vit

EMBED_DIM, PROMPT_LENGTH, NUM_CLASSES = TINY_SIZES["embed_dim"], 7, 3
MEAN, STD = [120.0, 110.0, 100.0], [50.0, 60.0, 70.0]
POOLED = {  # of the tokens [CLS; P; X]
    "all": range(1, 43),
    "prompts": range(1, 1 + PROMPT_LENGTH),
    "patches": range(1 + PROMPT_LENGTH, 43),
    "cls": range(1),
}


def classifier(pooling="all", *, prompted=True, frozen=True, placement="shallow", **settings):
    prompt = BilinearPrompt(PROMPT_LENGTH, rank=3, embed_dim=EMBED_DIM) if prompted else None
    backbone = PromptedViT(tiny_vit(), prompt, placement, frozen=frozen)
    model = PromptedClassifier(
        backbone, NUM_CLASSES, pooling=pooling, pixel_mean=MEAN, pixel_std=STD, **settings
    ).double()
    for index, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
        generator = torch.Generator().manual_seed(index)
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def batch_of(labels=(0, 2, 2)):
    """Images of 20 x 28 pixels: a grid of 5 x 7 patches, not the one of the pre-training."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(256, (len(labels), 3, 20, 28), generator=generator, dtype=torch.uint8)
    return [
        {"image": image, "label": label, "image_id": f"{index}.jpg"}
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


@torch.no_grad()
def written_out_logits(model, batch, pooling):
    """One image, one channel, one class at a time."""
    rows = []
    for sample in batch:
        image = torch.zeros(1, 3, 20, 28, dtype=torch.float64)
        for channel in range(3):
            image[0, channel] = (sample["image"][channel] - MEAN[channel]) / STD[channel]
        tokens = model.backbone.forward_tokens(image)[0]
        assert len(tokens) == 43
        pooled = sum(tokens[index] for index in POOLED[pooling]) / len(POOLED[pooling])
        variance = ((pooled - pooled.mean()) ** 2).sum() / EMBED_DIM
        norm = model.backbone.vit.norm
        normed = (pooled - pooled.mean()) / math.sqrt(variance + 1e-6) * norm.weight + norm.bias
        weight, bias = model.head.weight, model.head.bias
        rows.append([float(weight[k] @ normed + bias[k]) for k in range(NUM_CLASSES)])
    return torch.tensor(rows)


@pytest.mark.parametrize("pooling", POOLED)
def test_logits_equal_mean_then_norm_then_head_written_out(pooling):
    model = classifier(pooling).eval()
    batch = batch_of()
    logits = torch.stack([output["logits"] for output in model(batch)])
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, written_out_logits(model, batch, pooling))


def test_the_class_token_of_the_norm_is_the_norm_of_the_class_token():
    """The published order for MoCo v3 and supervised pre-training: norm, then class token."""
    model = classifier("cls").eval()
    tokens = model.last_tokens(batch_of())
    expected = model.head(model.backbone.vit.norm(tokens)[:, 0]).float()
    torch.testing.assert_close(model.classify(tokens), expected)


def test_the_mean_is_taken_before_the_norm_and_that_matters():
    model = classifier("all").eval()
    tokens = model.last_tokens(batch_of())
    norm_first = model.head(model.backbone.vit.norm(tokens)[:, 1:].mean(dim=1)).float()
    assert (model.classify(tokens) - norm_first).abs().max() > 0.01


def test_the_loss_is_the_mean_cross_entropy_and_the_accuracy_is_recorded():
    model, batch = classifier().train(), batch_of()
    logits = written_out_logits(model, batch, "all")
    losses, correct = [], 0
    for row, sample in zip(logits.tolist(), batch, strict=True):
        losses.append(math.log(sum(math.exp(v) for v in row)) - row[sample["label"]])
        correct += row.index(max(row)) == sample["label"]
    with EventStorage() as storage:
        result = model(batch)
    assert list(result) == ["loss_ce"]
    assert result["loss_ce"].item() == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert storage.latest()["train/top1"][0] == pytest.approx(100 * correct / 3)


@torch.no_grad()
def features_of(model, batch):
    """What the head would take without a batch norm, (B, D)."""
    return model.backbone.vit.norm(model.last_tokens(batch)[:, 1:].mean(dim=1))


def test_with_a_batch_norm_the_head_takes_channels_of_mean_0_and_variance_1():
    model, batch = classifier(head_batch_norm=True).train(), batch_of()
    features = features_of(model, batch)
    centered = features - features.mean(dim=0)
    variance = centered.square().mean(dim=0)
    expected = model.head(centered / (variance + 1e-6).sqrt())
    torch.testing.assert_close(model.classify(model.last_tokens(batch)), expected.float())


def test_evaluation_uses_running_averages_and_each_image_alone():
    model, batch = classifier(head_batch_norm=True), batch_of()
    features = features_of(model, batch)
    with EventStorage():
        model.train()(batch)
    mean = 0.1 * features.mean(dim=0)  # from 0, at a momentum of 0.1
    variance = 0.9 + 0.1 * features.var(dim=0)  # from 1
    expected = model.head((features - mean) / (variance + 1e-6).sqrt()).float()
    alone = [model.eval()([sample])[0]["logits"] for sample in batch]
    torch.testing.assert_close(torch.stack(alone), expected)


def test_the_batch_norm_has_nothing_to_train_and_its_averages_are_kept():
    plain, normed = classifier(), classifier(head_batch_norm=True)
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in normed.named_parameters()]
    assert set(normed.state_dict()) - set(plain.state_dict()) == {
        *("head_norm.running_mean", "head_norm.running_var", "head_norm.num_batches_tracked"),
    }


def test_the_batch_norm_takes_and_gives_float32_under_autocast():
    model, batch = classifier(head_batch_norm=True).float().train(), batch_of()
    seen = []
    model.head_norm.register_forward_hook(lambda _, inputs, output: seen.extend([*inputs, output]))
    with EventStorage(), torch.autocast("cpu", torch.bfloat16):
        model(batch)["loss_ce"].backward()
    assert [tensor.dtype for tensor in seen] == [torch.float32] * 2


def test_over_several_processes_the_batch_norm_is_synchronized(monkeypatch):
    single = classifier(head_batch_norm=True)
    monkeypatch.setattr("bpt_det.classification.classifier.comm.get_world_size", lambda: 2)
    several = classifier(head_batch_norm=True)
    assert isinstance(several.head_norm, torch.nn.SyncBatchNorm)
    several.load_state_dict(single.state_dict())
    batch = batch_of()
    for alone, shared in zip(single.eval()(batch), several.eval()(batch), strict=True):
        assert torch.equal(alone["logits"], shared["logits"])


def test_a_batch_norm_over_one_image_is_refused():
    with pytest.raises(InputError, match="needs batches of at least 2 images to train on, got 1"):
        classifier(head_batch_norm=True).train()(batch_of(labels=(1,)))


def test_tokens_of_the_prefix_stand_in_for_images():
    model, batch = classifier(placement="last_2").eval(), batch_of()
    for sample in batch:  # cached views are square
        sample["image"] = sample["image"][:, :, :20]
    images = model.normalize(torch.stack([sample["image"] for sample in batch]))
    tokens = model.backbone.prefix_tokens(images)
    cached = [{"tokens": row, "label": 0, "image_id": "x"} for row in tokens]
    for expected, output in zip(model(batch), model(cached), strict=True):
        assert torch.equal(output["logits"], expected["logits"])


def test_a_frozen_vit_keeps_its_final_norm_and_a_trained_one_trains_it():
    frozen = {n for n, p in classifier().named_parameters() if p.requires_grad}
    assert frozen == {
        *("head.weight", "head.bias"),
        *("backbone.prompts.0.coeff", "backbone.prompts.0.basis"),
    }
    everything = classifier(frozen=False)
    assert all(parameter.requires_grad for parameter in everything.parameters())


def test_every_trained_parameter_has_a_gradient_in_full_fine_tuning():
    model = classifier(frozen=False).train()
    with EventStorage():
        model(batch_of())["loss_ce"].backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_without_prompts_only_the_head_is_trained_and_no_block_keeps_a_graph():
    model = classifier(prompted=False).train()
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        "head.weight",
        "head.bias",
    }
    assert not model.last_tokens(batch_of()).requires_grad


def test_the_head_starts_with_a_truncated_normal_and_no_bias():
    backbone = PromptedViT(tiny_vit())
    model = PromptedClassifier(backbone, 5000, pixel_mean=MEAN, pixel_std=STD)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not model.head.bias.any()


def test_the_model_holds_no_pixel_statistics_in_its_state():
    assert not [name for name in classifier().state_dict() if "pixel" in name]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pooling": "mean"},
            "pooling must be one of all, prompts, patches, cls, got 'mean'",
        ),
        ({"num_classes": 1}, "num_classes must be an integer >= 2, got 1"),
        ({"input_format": "BGR"}, "input_format must be RGB for classification, got BGR"),
        ({"pooling": "prompts"}, "pooling=prompts needs prompts, but the model has none"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_its_key(settings, message):
    settings = {"num_classes": 3, "pixel_mean": MEAN, "pixel_std": STD, **settings}
    with pytest.raises(InputError, match=message):
        PromptedClassifier(PromptedViT(tiny_vit()), **settings)


def test_the_class_token_is_refused_where_the_vit_has_register_tokens_only():
    vit = VisionTransformer(
        *(16, 4, 3, 0),
        embed_dim=12,
        depth=2,
        num_heads=3,
        class_token=False,
        reg_tokens=2,
        global_pool="",
        dynamic_img_size=True,
    )
    with pytest.raises(InputError, match="pooling=cls needs a class token, but the ViT has"):
        PromptedClassifier(PromptedViT(vit), 3, pooling="cls", pixel_mean=MEAN, pixel_std=STD)


def test_a_label_that_the_head_does_not_have_names_the_image():
    model = classifier().train()
    with pytest.raises(InputError, match=r"label 3 of '1.jpg' is out of range: num_classes=3"):
        model(batch_of(labels=(0, 3)))


def test_the_forward_pass_runs_under_bfloat16_autocast_and_gives_float32_logits():
    model, batch = classifier().float().eval(), batch_of()
    expected = torch.stack([output["logits"] for output in model(batch)])
    with torch.autocast("cpu", torch.bfloat16):
        logits = torch.stack([output["logits"] for output in model(batch)])
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, expected)
    torch.testing.assert_close(logits, expected, atol=0.5, rtol=0.1)
