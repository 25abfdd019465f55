"""Sharing a frozen ViT between two trained models."""

import copy
import gc

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig, instantiate
from omegaconf import DictConfig, OmegaConf

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer, load_trained_model
from bpt_det.engine.sharing import frozen_vit_of
from bpt_det.prompts import FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from tests.support.detectors import shrink, use_shapes
from tests.support.vits import write_mae_file

pytestmark = pytest.mark.heavy


def tiny_config(shapes_root, mae_path) -> DictConfig:
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.model.backbone.net.vit.checkpoint = str(mae_path)
    cfg.train.device = "cpu"
    return cfg


def other_task(cfg: DictConfig) -> DictConfig:
    """Other classes, other prompts, other blocks; the same ViT."""
    cfg.model.roi_heads.num_classes = 3
    net = cfg.model.backbone.net
    net.placement = "last_2"
    sizes = {"embed_dim": "${..vit.embed_dim}", "patch_size": "${..vit.patch_size}"}
    net.prompt = L(FreePrompt)(prompt_length=7, **sizes)
    return cfg


def write_checkpoint(cfg, folder, seed):
    torch.manual_seed(seed)
    FrozenAwareCheckpointer(instantiate(cfg.model), str(folder)).save(f"model_{seed}")
    return str(folder / f"model_{seed}.pth")


@pytest.fixture
def tasks(shapes_root, tmp_path, repository_root, monkeypatch):
    """The ViT's file, and config and checkpoint of two tasks."""
    monkeypatch.chdir(repository_root)
    path = tmp_path / "mae.pth"
    vit = tiny_config(shapes_root, path).model.backbone.net.vit
    sizes = ("embed_dim", "num_blocks", "num_heads", "patch_size", "pretrain_size")
    write_mae_file(path, {name: vit[name] for name in sizes})
    first = tiny_config(shapes_root, path)
    second = other_task(tiny_config(shapes_root, path))
    checkpoints = [write_checkpoint(c, tmp_path, seed) for seed, c in enumerate((first, second))]
    return path, (first, checkpoints[0]), (second, checkpoints[1])


def vit_of(model):
    return next(m.vit for m in model.modules() if isinstance(m, PromptedViT))


@torch.no_grad()
def output_of(model):
    generator = torch.Generator().manual_seed(3)
    image = torch.randint(256, (3, 64, 48), generator=generator, dtype=torch.uint8)
    instances = model([{"image": image, "height": 64, "width": 48}])[0]["instances"]
    return instances.scores, instances.pred_boxes.tensor, instances.pred_masks


def test_models_that_share_a_vit_compute_what_they_do_apart(tasks):
    _, first, second = tasks
    apart = [output_of(load_trained_model(*task)) for task in (first, second)]
    model = load_trained_model(*first)
    sharing = load_trained_model(*second, share_vit_of=model)
    assert vit_of(sharing) is vit_of(model)
    assert not sharing.training
    for built, expected in zip((model, sharing), apart, strict=True):
        assert len(expected[0]) > 0
        for value, expected_value in zip(output_of(built), expected, strict=True):
            assert torch.equal(value, expected_value)


def test_the_vits_file_is_not_read_and_its_weights_are_not_hashed_again(tasks, monkeypatch):
    path, first, second = tasks
    model = load_trained_model(*first)
    path.unlink()
    monkeypatch.setattr(
        "bpt_det.engine.model_state.fingerprint", lambda _: pytest.fail("hashed again")
    )
    sharing = load_trained_model(*second, share_vit_of=model)
    assert sharing.roi_heads.num_classes == 3


def test_a_config_read_back_from_yaml_shares_too_and_stays_as_it_was(tasks, tmp_path):
    _, first, (second, checkpoint) = tasks
    LazyConfig.save(second, str(tmp_path / "config.yaml"))
    second = load_config(str(tmp_path / "config.yaml"))
    before = OmegaConf.to_container(second)
    model = load_trained_model(*first)
    sharing = load_trained_model(second, checkpoint, share_vit_of=model)
    assert vit_of(sharing) is vit_of(model)
    assert OmegaConf.to_container(second) == before


def test_the_shared_vit_outlives_the_model_it_came_from(tasks):
    _, first, second = tasks
    expected = output_of(load_trained_model(*second))
    model = load_trained_model(*first)
    sharing = load_trained_model(*second, share_vit_of=model)
    del model
    gc.collect()
    assert torch.equal(output_of(sharing)[0], expected[0])


def test_a_checkpoint_of_another_frozen_vit_is_refused(tasks, tmp_path):
    path, first, (second, _) = tasks
    model = load_trained_model(*first)
    second.model.backbone.net.vit.update(checkpoint=None, init_seed=9)
    checkpoint = write_checkpoint(second, tmp_path, 5)
    with pytest.raises(InputError, match="model_5.pth' was trained on another frozen ViT"):
        load_trained_model(second, checkpoint, share_vit_of=model)


def test_a_vit_that_is_trained_is_not_shared(tasks):
    _, (first, _), second = tasks
    first.model.backbone.net.frozen = False
    with pytest.raises(InputError, match=r"the model's ViT is trained \(frozen=False\), so it is "):
        load_trained_model(*second, share_vit_of=instantiate(first.model))


def test_a_model_that_would_train_the_shared_vit_is_refused(tasks):
    _, first, (second, checkpoint) = tasks
    model = load_trained_model(*first)
    second.model.backbone.net.frozen = False
    with pytest.raises(
        InputError, match=r"the config trains its ViT \(frozen=False\), which would"
    ):
        load_trained_model(second, checkpoint, share_vit_of=model)
    assert not any(parameter.requires_grad for parameter in vit_of(model).parameters())


def test_a_model_without_a_vit_has_none_to_share():
    with pytest.raises(InputError, match="a ViT can be shared by a model that has one; this has 0"):
        frozen_vit_of(torch.nn.Linear(2, 3))


def test_a_config_without_a_vit_cannot_take_a_shared_one(tasks):
    _, first, (second, checkpoint) = tasks
    model = load_trained_model(*first)
    second.model = L(torch.nn.Linear)(in_features=2, out_features=3)
    with pytest.raises(InputError, match="a shared ViT needs a config with one `vit`; this has 0"):
        load_trained_model(second, checkpoint, share_vit_of=model)


def test_a_model_that_copies_the_shared_vit_is_refused(tasks):
    _, first, (second, checkpoint) = tasks
    model = load_trained_model(*first)
    second.model = L(CopiesItsViT)(vit=second.model.backbone.net.vit)
    with pytest.raises(InputError, match="the config's model makes a ViT of its own from the shar"):
        load_trained_model(second, checkpoint, share_vit_of=model)


class CopiesItsViT(torch.nn.Module):
    def __init__(self, vit):
        super().__init__()
        self.vit = copy.deepcopy(vit)
