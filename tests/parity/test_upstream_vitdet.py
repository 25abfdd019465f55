"""ViTDet here against ViTDet in official Detectron2, which 0.6 does not have.

Source: facebookresearch/detectron2 main, detectron2/modeling/backbone/vit.py and
projects/ViTDet/configs/COCO/cascade_mask_rcnn_vitdet_b_100ep.py.
"""

import pickle
from functools import partial

import pytest
import torch
from detectron2.config import instantiate
from detectron2.layers import ShapeSpec
from detectron2.solver import get_default_optimizer_params
from torch import nn

from bpt_det.config import load_config
from bpt_det.detection import LayerNorm2d, ViTDetBackbone
from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.engine.optim import build_optimizer
from bpt_det.vit import build_vit
from tests.support.detectors import shrink
from tests.support.paths import ROOT
from tests.support.upstream import official_config, randomize

official = pytest.importorskip("detectron2.modeling.backbone.vit", reason="Detectron2 0.6 has none")

LEAF = "configs/coco/cascade_vitdet_b.py"
EMBED_DIM, NUM_HEADS, NUM_BLOCKS, PATCH_SIZE = 24, 3, 4, 16
IMAGE_SIZE, PRETRAIN_SIZE, WINDOW_SIZE = 192, 80, 5
GLOBAL_BLOCKS = [1, 3]


def official_vit(**kwargs):
    return official.ViT(
        img_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        embed_dim=EMBED_DIM,
        depth=NUM_BLOCKS,
        num_heads=NUM_HEADS,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        window_size=WINDOW_SIZE,
        window_block_indexes=[i for i in range(NUM_BLOCKS) if i not in GLOBAL_BLOCKS],
        use_rel_pos=True,
        pretrain_img_size=PRETRAIN_SIZE,
        **kwargs,
    )


def our_vit(**kwargs):
    vit = build_vit(
        EMBED_DIM, NUM_BLOCKS, NUM_HEADS, PATCH_SIZE, pretrain_size=PRETRAIN_SIZE, **kwargs
    )
    return ViTDetBackbone(
        vit,
        image_size=IMAGE_SIZE,
        window_size=WINDOW_SIZE,
        global_block_indexes=GLOBAL_BLOCKS,
    )


def images_of(height, width, dtype=torch.float64):
    return torch.randn(2, 3, height, width, dtype=dtype)


@pytest.mark.parametrize(("height", "width"), [(192, 192), (80, 80), (144, 208), (240, 160)])
def test_the_vits_compute_the_same(height, width):
    """At the size of the relative positions, at that of the absolute ones, and at others."""
    theirs = randomize(official_vit().double())
    ours = our_vit().double()
    ours.load_state_dict(theirs.state_dict())
    images = images_of(height, width)
    torch.testing.assert_close(ours(images)["last_feat"], theirs(images)["last_feat"])


def test_the_vits_learn_the_same():
    theirs = randomize(official_vit().double())
    ours = our_vit().double()
    ours.load_state_dict(theirs.state_dict())
    images = images_of(144, 208)
    for model in (ours, theirs):
        model(images)["last_feat"].square().mean().backward()
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], msg=name)


def test_the_vits_drop_the_same_paths():
    """Same random numbers, same images without a branch."""
    theirs = randomize(official_vit(drop_path_rate=0.5).double()).train()
    ours = our_vit(drop_path_rate=0.5).double().train()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(8, 3, 144, 208, dtype=torch.float64)
    outputs = []
    for model in (ours, theirs):
        torch.manual_seed(3)
        outputs.append(model(images)["last_feat"])
    torch.testing.assert_close(*outputs)


def test_the_rates_of_layer_wise_decay_are_the_same():
    ours = nn.ModuleDict({"backbone": nn.ModuleDict({"net": our_vit()})})
    depths = ours["backbone"]["net"].parameter_depths()
    for name, parameter in ours.named_parameters():
        expected = official.get_vit_lr_decay_rate(name, lr_decay_rate=0.7, num_layers=NUM_BLOCKS)
        assert 0.7 ** (NUM_BLOCKS + 1 - depths[parameter]) == pytest.approx(expected), name


@pytest.fixture
def leaf(monkeypatch):
    monkeypatch.chdir(ROOT)
    return load_config(LEAF)


@pytest.fixture(scope="module")
def published():
    """The official detector at full size."""
    return instantiate(official_config("cascade_mask_rcnn"))


@pytest.fixture
def ours(leaf):
    """The same of ours; it takes no memory."""
    with torch.device("meta"):
        return instantiate(leaf.model)


def test_the_config_has_the_weights_of_the_published_model(published, ours):
    """All names and shapes of the whole detector."""
    expected = {name: value.shape for name, value in published.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected


def settings_by_name(model, groups):
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[p]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]
    }


def test_the_config_has_the_rates_and_decays_of_the_published_recipe(leaf, published, ours):
    """But for the norms around the ViT: official Detectron2 does not know its own for one."""
    groups = get_default_optimizer_params(
        published,
        base_lr=1e-4,
        weight_decay=0.1,
        weight_decay_norm=0.0,
        lr_factor_func=partial(official.get_vit_lr_decay_rate, num_layers=12, lr_decay_rate=0.7),
        overrides={"pos_embed": {"weight_decay": 0.0}},
    )
    expected = settings_by_name(published, groups)
    settings = settings_by_name(ours, build_optimizer(leaf, ours).param_groups)
    assert settings.keys() == expected.keys()
    norms = [name for name, module in ours.named_modules() if isinstance(module, LayerNorm2d)]
    for name, (rate, decay) in expected.items():
        if name.rpartition(".")[0] in norms:
            assert decay == 0.1
            decay = 0.0
        assert settings[name] == (pytest.approx(rate), decay), name


def test_the_config_has_the_schedule_of_the_published_recipe(leaf):
    assert (leaf.train.max_iter, leaf.dataloader.train.total_batch_size) == (184_375, 64)
    schedule = instantiate(leaf.lr_multiplier)
    for iteration, factor in ((0, 1e-3), (250, 1), (163_888, 1), (163_889, 0.1), (177_546, 0.01)):
        assert schedule(iteration / 184_375) == pytest.approx(factor), iteration


def micro_detectors(leaf):
    """The published detector and our config at a few thousand parameters."""
    cfg = shrink(leaf)
    cfg.model.roi_heads.num_classes = 4
    net = cfg.model.backbone.net
    net.update(image_size=64, window_size=3, global_block_indexes=[1])
    theirs = official_config("cascade_mask_rcnn")
    theirs.backbone.update(out_channels=16, square_pad=64)
    theirs.backbone.net.update(
        img_size=64,
        embed_dim=net.vit.embed_dim,
        depth=net.vit.num_blocks,
        num_heads=net.vit.num_heads,
        window_size=3,
        window_block_indexes=[i for i in range(net.vit.num_blocks) if i != 1],
        pretrain_img_size=64,
    )
    theirs.proposal_generator.update(pre_nms_topk=[50, 30], post_nms_topk=[50, 30])
    theirs.proposal_generator.head.in_channels = 16
    heads = theirs.roi_heads
    heads.num_classes = 4
    for box_head, box_predictor in zip(heads.box_heads, heads.box_predictors, strict=True):
        box_head.update(conv_dims=[16], fc_dims=[24])
        box_head.input_shape = ShapeSpec(channels=16, height=7, width=7)
        box_predictor.input_shape = ShapeSpec(channels=24)
        box_predictor.test_score_thresh = 0.0
    heads.mask_head.conv_dims = [16, 16]
    heads.mask_head.input_shape = ShapeSpec(channels=16, height=14, width=14)
    return instantiate(theirs), instantiate(cfg.model)


def test_a_model_file_of_detectron2_finds_the_same_objects_here(leaf, tmp_path):
    """In float32, as Detectron2's suppression of duplicates takes nothing else."""
    theirs, ours = (model.eval() for model in micro_detectors(leaf))
    randomize(theirs)
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    path = tmp_path / "model_final_435fa9.pkl"
    path.write_bytes(pickle.dumps({"model": state, "__author__": "Detectron2 Model Zoo"}))
    FrozenAwareCheckpointer(ours).load(str(path))
    images = [
        {"image": 255 * torch.rand(3, 50, 64), "height": 100, "width": 128},
        {"image": 255 * torch.rand(3, 64, 38), "height": 64, "width": 38},
    ]
    with torch.no_grad():
        for output, expected_output in zip(ours(images), theirs(images), strict=True):
            actual, expected = output["instances"], expected_output["instances"]
            assert len(expected) > 3
            assert torch.equal(actual.pred_classes, expected.pred_classes)
            torch.testing.assert_close(actual.scores, expected.scores, rtol=0, atol=1e-3)
            boxes = actual.pred_boxes.tensor, expected.pred_boxes.tensor
            torch.testing.assert_close(*boxes, rtol=0, atol=1e-2)  # pixels
            assert expected.pred_masks.any() and not expected.pred_masks.all()
            assert (actual.pred_masks != expected.pred_masks).float().mean() < 1e-3
