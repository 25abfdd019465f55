import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from bpt_det.detection import PromptedViTBackbone, SimpleFeaturePyramid, add_bpt_config
from bpt_det.prompts import BilinearPrompt, FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, build_vit
from tests.support.vits import TINY_PRETRAIN_SIZE, TINY_SIZES, write_mae_file


@pytest.fixture
def cfg(monkeypatch):
    """A config of the tiny ViT, whose sizes this test adds to the table."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY_SIZES)
    cfg = get_cfg()
    add_bpt_config(cfg)
    cfg.MODEL.BPT.ARCHITECTURE = "tiny"
    cfg.MODEL.BPT.PRETRAIN_SIZE = TINY_PRETRAIN_SIZE
    cfg.MODEL.BPT.PROMPT_LENGTH = 7
    cfg.MODEL.BPT.RANK = 3
    cfg.MODEL.BPT.PLACEMENT = "last_2"
    cfg.MODEL.BACKBONE.NAME = "PromptedViTBackbone"
    return cfg


def direct_backbone(prompt, **kwargs):
    vit = build_vit(**TINY_SIZES, pretrain_size=TINY_PRETRAIN_SIZE, **kwargs)
    return PromptedViTBackbone(vit, prompt, "last_2")


def assert_same(built, direct, size):
    """Equal maps with equal trained weights; the frozen ones must be equal from the start."""
    frozen = {name for name, p in direct.named_parameters() if not p.requires_grad}
    state = direct.state_dict()
    assert built.state_dict().keys() == state.keys()
    assert all(torch.equal(built.state_dict()[name], state[name]) for name in frozen)
    built.load_state_dict(state)
    images = torch.randn(2, 3, *size)
    expected = direct(images)
    maps = built(images)
    assert maps.keys() == expected.keys()
    for name in maps:
        torch.testing.assert_close(maps[name], expected[name])
    assert built.output_shape() == direct.output_shape()


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("bilinear", lambda: BilinearPrompt(7, rank=3, embed_dim=12)),
        ("free", lambda: FreePrompt(7, embed_dim=12, patch_size=4)),
        ("none", lambda: None),
    ],
)
def test_the_single_map_equals_the_one_built_directly(cfg, name, prompt):
    cfg.MODEL.BPT.PROMPT = name
    assert_same(build_backbone(cfg), direct_backbone(prompt()), size=(20, 36))


def test_the_pyramid_equals_the_one_built_directly(cfg):
    cfg.MODEL.BACKBONE.NAME = "build_prompted_vit_pyramid"
    cfg.MODEL.FPN.OUT_CHANNELS = 5
    cfg.MODEL.BPT.SCALE_FACTORS = (2.0, 1.0, 0.5)
    cfg.MODEL.BPT.SQUARE_PAD = 48
    direct = SimpleFeaturePyramid(
        direct_backbone(BilinearPrompt(7, rank=3, embed_dim=12)),
        in_feature="last_feat",
        out_channels=5,
        scale_factors=(2.0, 1.0, 0.5),
        top_block=LastLevelMaxPool(),
        square_pad=48,
    )
    assert_same(build_backbone(cfg), direct, size=(24, 40))


def test_a_checkpoint_is_read(cfg, tmp_path):
    path = tmp_path / "mae.pth"
    state = write_mae_file(path, {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE})
    cfg.MODEL.BPT.CHECKPOINT = str(path)
    loaded = build_backbone(cfg).prompted_vit.vit.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_patches_of_another_size_are_resampled_from_the_architectures(cfg, tmp_path):
    path = tmp_path / "mae.pth"
    write_mae_file(path, {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE})
    cfg.MODEL.BPT.CHECKPOINT = str(path)
    cfg.MODEL.BPT.PATCH_SIZE = 8
    net = build_backbone(cfg)
    expected = build_vit(
        **{**TINY_SIZES, "patch_size": 8},
        pretrain_size=TINY_PRETRAIN_SIZE,
        pretrained_patch_size=4,
        checkpoint=str(path),
    )
    assert net.output_shape()["last_feat"].stride == 8
    for name, value in expected.state_dict().items():
        assert torch.equal(net.prompted_vit.vit.state_dict()[name], value), name


def test_the_defaults_are_the_published_ones():
    cfg = get_cfg()
    add_bpt_config(cfg)
    bpt = cfg.MODEL.BPT
    assert (bpt.ARCHITECTURE, bpt.PLACEMENT, bpt.PROMPT) == ("vit_b", "shallow", "bilinear")
    assert (bpt.PROMPT_LENGTH, bpt.RANK) == (100, 100)  # the authors' COCO run
    assert bpt.SCALE_FACTORS == (4.0, 2.0, 1.0, 0.5)


def test_an_unknown_architecture_is_refused_with_the_known_ones(cfg):
    cfg.MODEL.BPT.ARCHITECTURE = "vit_x"
    text = r"^MODEL\.BPT\.ARCHITECTURE 'vit_x' is unknown; use one of: vit_b, vit_l, .*\.$"
    with pytest.raises(InputError, match=text):
        build_backbone(cfg)


def test_an_unknown_prompt_is_refused_with_the_known_ones(cfg):
    cfg.MODEL.BPT.PROMPT = "soft"
    text = r"^MODEL\.BPT\.PROMPT 'soft' is unknown; use one of: bilinear, free, none\.$"
    with pytest.raises(InputError, match=text):
        build_backbone(cfg)


def test_the_input_is_what_the_vits_were_pre_trained_on_not_detectron2s_default(cfg):
    assert get_cfg().INPUT.FORMAT == "BGR"
    assert cfg.INPUT.FORMAT == "RGB"
    assert cfg.MODEL.PIXEL_MEAN == pytest.approx([255 * v for v in (0.485, 0.456, 0.406)])
    assert cfg.MODEL.PIXEL_STD == pytest.approx([255 * v for v in (0.229, 0.224, 0.225)])
