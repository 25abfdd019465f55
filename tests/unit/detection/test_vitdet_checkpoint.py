"""A ViTDet file of Detectron2's model zoo under the config for it, at micro width."""

import importlib.util
import pickle

import pytest
import torch
from detectron2.config import LazyConfig, instantiate

from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink, use_shapes
from tests.support.paths import ROOT
from tests.support.upstream import detector_shapes, vit_shapes, write_model_file


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
