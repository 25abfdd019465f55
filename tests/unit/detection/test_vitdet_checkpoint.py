"""A ViTDet file of Detectron2's model zoo under the config for it, at micro width."""

import importlib.util
import itertools
import pickle
import re

import pytest
import torch
from detectron2.config import LazyConfig, instantiate

from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink, use_shapes
from tests.support.paths import ROOT
from tests.support.upstream import detector_shapes, vit_shapes, write_model_file

# Of the modules of cascade_mask_rcnn_vitdet_b_100ep in facebookresearch/detectron2@02b5c4e, built
# and listed on 2026-11-29, with the shapes of `coco/cascade_vitdet_b`.
OFFICIAL_NAMES = """
backbone.net.pos_embed
backbone.net.patch_embed.proj.[weight|bias]
backbone.net.blocks.[0|1|2|3|4|5|6|7|8|9|10|11].[norm1|norm2].[weight|bias]
backbone.net.blocks.[0|1|2|3|4|5|6|7|8|9|10|11].attn.[rel_pos_h|rel_pos_w]
backbone.net.blocks.[0|1|2|3|4|5|6|7|8|9|10|11].[attn.qkv|attn.proj|mlp.fc1|mlp.fc2].[weight|bias]
backbone.[simfp_2.0|simfp_2.1|simfp_2.3|simfp_3.0].[weight|bias]
backbone.[simfp_2.4|simfp_2.5|simfp_3.1|simfp_3.2].[weight|norm.weight|norm.bias]
backbone.[simfp_4.0|simfp_4.1|simfp_5.1|simfp_5.2].[weight|norm.weight|norm.bias]
proposal_generator.rpn_head.[conv.conv0|conv.conv1|objectness_logits|anchor_deltas].[weight|bias]
roi_heads.box_head.[0|1|2].[conv1|conv2|conv3|conv4].[weight|norm.weight|norm.bias]
roi_heads.box_head.[0|1|2].fc1.[weight|bias]
roi_heads.box_predictor.[0|1|2].[cls_score|bbox_pred].[weight|bias]
roi_heads.mask_head.[mask_fcn1|mask_fcn2|mask_fcn3|mask_fcn4].[weight|norm.weight|norm.bias]
roi_heads.mask_head.[deconv|predictor].[weight|bias]
"""


def expand(line):
    """Return all names of a line with choices in brackets."""
    parts = [part.split("|") for part in re.split(r"[\[\]]", line)]
    return {"".join(name) for name in itertools.product(*parts)}


@pytest.fixture
def cfg(shapes_root, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = use_shapes(shrink(load_config("configs/coco/cascade_vitdet_b.py")), shapes_root)
    cfg.model.backbone.net.update(image_size=96, window_size=3, global_block_indexes=[1])
    cfg.train.output_dir = str(tmp_path / "run")
    cfg.train.max_iter, cfg.train.eval_period = 1, 0
    return cfg


@pytest.fixture
def published(cfg, tmp_path):
    """A file with the official names and shapes, and its content."""
    vit = cfg.model.backbone.net.vit
    sizes = (vit.embed_dim, vit.num_blocks, vit.num_heads, vit.patch_size)
    net = vit_shapes(*sizes, grid_size=6, pretrain_grid_size=4, window_size=3, global_blocks=[1])
    path = tmp_path / "model_final_435fa9.pkl"
    return path, write_model_file(path, detector_shapes(net, vit.embed_dim, 16, 24, 10))


def train_net(*arguments):
    spec = importlib.util.spec_from_file_location("tools_train_net", ROOT / "tools/train_net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main([str(argument) for argument in arguments])


def test_a_published_model_is_loaded_whole(cfg, published):
    path, state = published
    model = instantiate(cfg.model)
    FrozenAwareCheckpointer(model).load(str(path))
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    for name, value in loaded.items():
        assert torch.equal(value, torch.tensor(state[name])), name


def test_a_whole_model_has_the_official_names(cfg):
    """Of as many blocks and layers as the published one, which files of the other tests lack."""
    cfg.model.backbone.net.vit.num_blocks = 12
    for head in cfg.model.roi_heads.box_heads:
        head.conv_dims = [16] * 4
    cfg.model.roi_heads.mask_head.conv_dims = [16] * 5  # the last one is the deconvolution's
    names = set().union(*map(expand, OFFICIAL_NAMES.split()))
    assert len(names) == 281
    assert instantiate(cfg.model).state_dict().keys() == names


def test_missing_unknown_and_resized_names_are_told_at_once(cfg, published):
    path, state = published
    state["roi_heads.bias"] = state.pop("backbone.net.pos_embed")
    state["backbone.simfp_4.0.weight"] = state["backbone.simfp_4.0.weight"][1:]
    path.write_bytes(pickle.dumps({"model": state, "__author__": "Detectron2 Model Zoo"}))
    expected = (
        r"does not fit this model: 1 of another size \(backbone.simfp_4.0.weight is "
        r"\(15, 32, 1, 1\) there, \(16, 32, 1, 1\) here\); 1 missing there "
        r"\(backbone.net.pos_embed\); 1 unknown here \(roi_heads.bias\)\."
    )
    with pytest.raises(InputError, match=expected):
        FrozenAwareCheckpointer(instantiate(cfg.model)).load(str(path))


def test_buffers_that_older_files_hold_beside_the_weights_are_left_out(cfg, published):
    path, state = published
    state["pixel_mean"] = state["pixel_std"] = state["backbone.simfp_2.1.bias"]
    name = "proposal_generator.anchor_generator.cell_anchors.0"
    state[name] = state["backbone.simfp_2.1.bias"]
    torch.save({"model": {n: torch.tensor(v) for n, v in state.items()}, "iteration": 7}, path)
    FrozenAwareCheckpointer(instantiate(cfg.model)).load(str(path))


def test_a_model_with_prompts_refuses_it(published, cfg):
    prompted = shrink(load_config("configs/coco/cascade_bpt_s.py"))
    with pytest.raises(InputError, match=r"435fa9.pkl' is not a checkpoint of this project\. Give"):
        FrozenAwareCheckpointer(instantiate(prompted.model)).load(str(published[0]))


def test_the_tool_evaluates_it_and_trains_on_from_it(cfg, published, tmp_path):
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    arguments = ("--config-file", tmp_path / "config.yaml")
    start = f"train.init_checkpoint={published[0]}"
    assert train_net(*arguments, "--eval-only", start) == 0
    assert train_net(*arguments, start) == 0
    trained = torch.load(tmp_path / "run/model_final.pth", weights_only=True)["model"]
    assert trained.keys() == published[1].keys()
    before = {name: torch.tensor(value) for name, value in published[1].items()}
    for name, value in trained.items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=2e-4)  # one step at 1e-4
    weights = [n for n in trained if n.startswith("backbone.net.blocks") and "weight" in n]
    assert not any(torch.equal(trained[name], before[name]) for name in weights)
