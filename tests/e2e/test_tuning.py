"""Every tuning method, several layers and neck blocks: trained, resumed, evaluated, shared."""

import shutil

import pytest
import torch
from detectron2.config import LazyConfig

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.classification import use_classification_data
from bpt_det.cli.app import main
from bpt_det.config import load_config
from bpt_det.config.files import config_folder, find_methods
from bpt_det.config.tree import find_vit_owner
from bpt_det.engine import (
    FrozenAwareCheckpointer,
    load_trained_model,
    merge_tuning,
    read_result,
    train,
)
from bpt_det.engine.summary import _describe_networks
from bpt_det.utils.errors import InputError
from tests.support import class_trees
from tests.support.detectors import shrink, use_shapes

METHODS = [
    name
    for name, path in find_methods(config_folder()).items()
    if "tuning" in LazyConfig.load(str(path)).method.settings
]
LAYERS = {
    "layers": ["model.backbone.net.layers=[0,2,3,4]"],
    "levels": ["model.backbone.net.layers=[1,3,4]", "model.backbone.net.join=levels"],
    "weights_and_neck": [
        "model.backbone.net.layers=quarters",
        "model.backbone.net.join=weights",
        "model.backbone.net.neck_blocks=1",
        "model.backbone.net.neck_window=3",
    ],
}
IMAGE_SIZE = 16


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return class_trees.write_cub(tmp_path_factory.mktemp("data") / "CUB_200_2011")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, repository_root):
    monkeypatch.chdir(repository_root)
    return tmp_path


def detector(shapes_root, *overrides):
    return use_shapes(shrink(load_config("configs/shapes/cascade.py", overrides)), shapes_root)


def classifier(cub, *overrides):
    sizes = ["embed_dim=80", "num_blocks=4", "num_heads=2", "patch_size=8", "checkpoint=null"]
    settings = [f"model.backbone.vit.{size}" for size in [*sizes, "pretrain_size=16"]]
    settings += [f"dataloader.root={cub}", "dataloader.resize_size=18", "train.epochs=1"]
    settings += [f"dataloader.image_size={IMAGE_SIZE}", "dataloader.train.total_batch_size=7"]
    settings += [f"dataloader.{name}.num_workers=0" for name in ("train", "test")]
    settings += ["dataloader.final_test=null"]
    return load_config("configs/fgvc/cub.py", [*settings, *overrides], use_classification_data)


def train_and_resume(cfg, folder):
    """Train 3 iterations, and the third one once more from the checkpoint before it."""
    cfg.train.update(max_iter=3, log_period=1, eval_period=0, device="cpu", curves=None)
    cfg.train.checkpointer.period = 1
    states = []
    for name in ("straight", "resumed"):
        output = folder / name
        output.mkdir()
        cfg.train.output_dir = str(output)
        if states:
            shutil.copy(folder / "straight/model_0000001.pth", output)
            (output / "last_checkpoint").write_text("model_0000001.pth")
        torch.manual_seed(len(states))
        train(cfg, resume=bool(states))
        states.append(torch.load(output / "model_final.pth", weights_only=True))
    before = torch.load(folder / "straight/model_0000001.pth", weights_only=True)["model"]
    straight, resumed = (state["model"] for state in states)
    for name, value in straight.items():
        assert torch.equal(resumed[name], value), name
    assert straight.keys() == resumed.keys() == before.keys()
    return before, straight


def check(before, state, prefix):
    """What is tuned is in the file and moves; the frozen ViT is not in it."""
    tuned = {name for name in state if name.startswith(f"{prefix}tuning.blocks.")}
    assert tuned and not any(name.startswith(f"{prefix}vit.") for name in state)
    moved = {name for name in tuned if not torch.equal(state[name], before[name])}
    assert moved == tuned


@pytest.mark.parametrize("method", METHODS)
def test_a_classifier_is_trained_and_resumed(method, cub, folder):
    cfg = classifier(cub, f"method={method}", "optimizer.lr=0.01")
    before, state = train_and_resume(cfg, folder)
    check(before, state, "backbone.")
    trained = sum(value.numel() for value in state.values())
    assert read_result(folder / "straight").trained_parameters == trained


@pytest.mark.parametrize("method", METHODS)
def test_a_detector_is_trained_and_resumed(method, shapes_root, folder):
    before, state = train_and_resume(detector(shapes_root, f"method={method}"), folder)
    check(before, state, "backbone.net.prompted_vit.")


@pytest.mark.parametrize("name", LAYERS)
def test_a_detector_with_a_neck_is_trained_and_resumed(name, shapes_root, folder):
    cfg = detector(shapes_root, "method=bpt_d", *LAYERS[name])
    before, state = train_and_resume(cfg, folder)
    neck = {key for key in state if key.startswith("backbone.net.neck.")}
    assert neck and all(not torch.equal(state[key], before[key]) for key in neck)


def test_a_checkpoint_comes_back_with_its_averages_and_beside_another_model(cub, folder):
    """Averages hold what is tuned; two models share the frozen ViT that one of them tunes."""
    cfg = classifier(cub, "method=partial_1", "train.ema.decay=0.5")
    cfg.train.update(max_iter=2, eval_period=0, device="cpu", curves=None)
    cfg.train.output_dir = str(folder)
    train(cfg)
    content = torch.load(folder / "model_final.pth", weights_only=True)
    assert content["ema"].keys() == content["model"].keys()
    tuned = load_trained_model(cfg, str(folder / "model_final.pth"))
    batch = [{"image": torch.full((3, IMAGE_SIZE, IMAGE_SIZE), 100.0)}]
    expected = tuned(batch)[0]["logits"]
    again = load_trained_model(cfg, str(folder / "model_final.pth"), share_vit_of=tuned)
    assert again.backbone.vit is tuned.backbone.vit
    assert torch.equal(again(batch)[0]["logits"], expected)


@pytest.mark.parametrize("method", ["lora_bpt_s", "ssf"])
def test_a_merged_detector_finds_the_same_and_no_longer_fits_its_checkpoint(
    method, shapes_root, folder
):
    cfg = detector(shapes_root, f"method={method}")
    cfg.train.update(max_iter=2, eval_period=0, device="cpu", curves=None)
    cfg.train.output_dir = str(folder)
    train(cfg)
    model = load_trained_model(cfg)
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected = model([{"image": image}])[0]["instances"]
        merge_tuning(model)
        merged = model([{"image": image}])[0]["instances"]
    assert len(expected) > 0
    torch.testing.assert_close(merged.scores, expected.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        merged.pred_boxes.tensor, expected.pred_boxes.tensor, rtol=1e-4, atol=1e-2
    )
    assert not any(".tuning." in name for name in model.state_dict())
    with pytest.raises(InputError, match="was trained on another frozen ViT"):
        FrozenAwareCheckpointer(model).load(str(folder / "model_final.pth"))


def test_the_summary_of_a_run_names_the_method_its_size_and_its_blocks(cub, folder):
    cfg = classifier(cub, "method=lora", "model.backbone.tuning.placement=last_2")
    cfg.train.update(max_iter=1, eval_period=0, device="cpu", curves=None)
    cfg.train.output_dir = str(folder)
    train(cfg)
    model = load_trained_model(cfg)
    expected = f"LoRA, {2 * 4 * 8 * 80:,} parameters, in blocks 2, 3"
    assert ("tuning", expected) in list(_describe_networks(cfg, model))


def test_burstiness_of_a_tuned_vit_is_refused(shapes_root, folder, capsys):
    cfg = detector(shapes_root, "method=lora")
    cfg.train.update(max_iter=1, eval_period=0, device="cpu", curves=None)
    cfg.train.output_dir = str(folder)
    train(cfg)
    run = ["--config-file", str(folder / "config.yaml"), "--images", str(shapes_root / "train")]
    assert main(["burstiness", *run, "--checkpoint", str(folder / "model_final.pth")]) == 2
    assert "is of a ViT that LoRA tunes, but the measures are of frozen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["tuning.rank=0"],
            "error: model.backbone.tuning.rank must be an integer >= 1, got 0.",
        ),
        (
            ["tuning.placement=[3,9]"],
            "has num_blocks=4. Config key: model.backbone.tuning.placement.",
        ),
        (
            ["frozen=False"],
            "set model.backbone.frozen=True or model.backbone.tuning=null.",
        ),
        (["tuning.ranks=3"], "no key 'model.backbone.tuning.ranks'"),
    ],
)
def test_bad_settings_are_one_line_with_their_key(arguments, problem, cub, folder, capsys):
    cfg = classifier(cub, "method=lora")
    cfg.train.update(max_iter=1, device="cpu")
    LazyConfig.save(cfg, str(folder / "tiny.yaml"))
    settings = [f"model.backbone.{argument}" for argument in arguments]
    run = ["train-cls", "--config-file", str(folder / "tiny.yaml"), *settings]
    assert main([*run, f"train.output_dir={folder}/run"]) == 2
    errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(errors) == 1 and problem in errors[0], errors


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ("frozen", r"12 unknown here \(backbone\.tuning\.blocks\.3\."),
        ("lora", r"16 missing there .*; 12 unknown here"),
        ("full", r"trained on a frozen ViT \(backbone\.vit\) and does not hold its weights"),
    ],
)
def test_a_checkpoint_of_another_method_is_refused(other, problem, cub, folder):
    cfg = classifier(cub, "method=partial_1")
    cfg.train.update(max_iter=1, eval_period=0, device="cpu", curves=None)
    cfg.train.output_dir = str(folder)
    train(cfg)
    with pytest.raises(InputError, match=problem) as caught:
        load_trained_model(classifier(cub, f"method={other}"), str(folder / "model_final.pth"))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_vit_is_refused(cub, folder):
    """The fingerprint is that of the original weights, whatever was tuned."""
    cfg = classifier(cub, "method=bitfit")
    cfg.train.update(max_iter=1, eval_period=0, device="cpu", curves=None)
    cfg.train.output_dir = str(folder)
    train(cfg)
    find_vit_owner(cfg)[1].vit.init_seed = 1
    with pytest.raises(InputError, match=r"trained on another frozen ViT \(backbone\.vit has"):
        load_trained_model(cfg, str(folder / "model_final.pth"))
