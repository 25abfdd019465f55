"""Where in a file the ViT is: under prefixes, in containers, or not at all."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit, load_weights
from tests.support.vits import TINY_PRETRAIN_SIZE, TINY_SIZES, timm_state, write_mae_file
from tests.support.weight_files import write_hugging_face_file, write_vitdet_file

MICRO = {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE}
STATE = timm_state(MICRO)
OTHER = timm_state(MICRO, seed=9)
HEAD = {"head.weight": torch.zeros(3, 12), "head.bias": torch.zeros(3)}


def prefixed(prefix, state=STATE):
    return {f"{prefix}{name}": value for name, value in state.items()}


def without(*names, state=STATE):
    return {name: value for name, value in state.items() if name not in names}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def load(path, **kwargs):
    vit = build_vit(**MICRO)
    return vit, load_weights(vit, str(path), **kwargs)


def assert_loaded(vit, state=STATE):
    for name, value in vit.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0, msg=name)


def refusal(path):
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


PREFIXES = [
    "module.", "backbone.", "model.", "_orig_mod.", "encoder.", "vit.", "module.backbone.",
    "_orig_mod.module.model.", "teacher.backbone.", "model.encoder.vit.", "image_encoder.trunk.",
    "backbone.vit.", "0.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("container", ["", "model", "state_dict"])
def test_a_prefix_of_all_names_is_left_out(path, prefix, container):
    state = prefixed(prefix)
    torch.save({container: state} if container else state, path)
    vit, report = load(path)
    assert_loaded(vit)
    assert report.ignored == ()


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_what_has_another_prefix_is_ignored_and_named(path, prefix):
    torch.save(
        {**prefixed(prefix), **prefixed("neck.", HEAD), "head.mlp.0.bias": torch.zeros(2)}, path
    )
    vit, report = load(path)
    assert_loaded(vit)
    assert {"neck.head.weight", "neck.head.bias", "head.mlp.0.bias"} == set(report.ignored)


def test_a_wrapped_detector_of_vitdet_is_read_as_one(path, tmp_path):
    state = write_vitdet_file(path, MICRO)
    content = torch.load(path, weights_only=True)
    torch.save(prefixed("module.", content["model"]), path)
    vit, report = load(path)
    assert report.pretraining == "ViTDet"
    assert all(torch.equal(vit.state_dict()[name], value) for name, value in state.items())


def test_two_vits_under_two_prefixes_are_refused_by_name(path):
    torch.save({**prefixed("student.backbone."), **prefixed("teacher.backbone.", OTHER)}, path)
    assert "holds several ViTs, under student.backbone., teacher.backbone.; save" in refusal(path)


@pytest.mark.parametrize("key", ["teacher", "target_encoder", "encoder", "ema", "model_state"])
def test_the_only_network_of_a_file_is_read_whatever_its_key(path, key):
    content = {key: prefixed("module.backbone."), "epoch": 3, "optimizer": {"state": {}}}
    torch.save({**content, "dino_loss": {}}, path)
    assert_loaded(load(path)[0])


def test_dinos_teacher_alone_is_read_and_its_head_is_ignored(path):
    torch.save({"teacher": {**prefixed("backbone."), "head.mlp.0.weight": torch.zeros(2, 2)}}, path)
    vit, report = load(path)
    assert_loaded(vit)
    assert report.ignored == ("head.mlp.0.weight",)


@pytest.mark.parametrize(
    "content",
    [
        {"student": prefixed("module.backbone."), "teacher": prefixed("backbone.", OTHER)},
        {"encoder": STATE, "predictor": HEAD, "target_encoder": OTHER, "epoch": 3},
        {"online": {"state_dict": STATE}, "target": {"model": OTHER}},
    ],
)
def test_several_networks_are_refused_by_name(path, content):
    torch.save(content, path)
    names = [key for key in content if key != "epoch"]
    text = refusal(path)
    assert f"holds several networks: {', '.join(names)}; save one" in text
    assert f"['{names[-1]}']" in text


def test_averages_beside_the_model_are_named(path):
    torch.save({"model": STATE, "model_ema": OTHER}, path)
    vit, report = load(path)
    assert_loaded(vit)
    assert report.ignored == ("model_ema.*",)


def test_a_container_in_a_container_is_read(path):
    torch.save({"model": {"state_dict": prefixed("module.")}}, path)
    assert_loaded(load(path)[0])


def test_a_mae_fine_tuned_on_the_mean_of_patches_has_a_neutral_norm(path):
    norm = {f"fc_{name}": STATE[name] for name in ("norm.weight", "norm.bias")}
    torch.save({"model": {**without("norm.weight", "norm.bias"), **norm, **HEAD}}, path)
    vit, report = load(path)
    neutral = {"norm.weight": torch.ones(12), "norm.bias": torch.zeros(12)}
    assert_loaded(vit, {**STATE, **neutral})
    assert set(report.ignored) == {*norm, *HEAD}
    assert "fc_norm" in str(report)


REGISTERS = ["reg_token", "register_tokens", "storage_tokens", "registers_token", "dist_token"]


@pytest.mark.parametrize("name", REGISTERS)
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_registers_are_refused_under_any_name(path, name, prefix):
    torch.save(prefixed(prefix, {**STATE, name: torch.zeros(1, 4, 12)}), path)
    text = refusal(path)
    assert f"1 for modules that this ViT does not have ({name})" in text
    assert "No sizes change this" in text and "timm:NAME" in text
    assert "Choose the architecture" not in text


@pytest.mark.parametrize(
    "name",
    [
        "blocks.0.ls1.gamma",
        "blocks.1.attn.rel_pos_h",
        "blocks.1.attn.relative_position_bias_table",
        "blocks.2.attn.q_norm.weight",
        "rel_pos_bias.relative_position_bias_table",
        "rope.periods",
        "rope_embed.periods",
        "norm_pre.weight",
        "patch_embed.norm.weight",
        "patch_embed.backbone.conv1.weight",
    ],
)
def test_modules_that_compute_more_are_refused(path, name):
    torch.save({**STATE, name: torch.zeros(3)}, path)
    assert f"modules that this ViT does not have ({name})" in refusal(path)


def test_a_mask_token_computes_nothing(path):
    torch.save({**STATE, "mask_token": torch.zeros(1, 12)}, path)
    assert load(path)[1].ignored == ("mask_token",)


@pytest.mark.parametrize("prefix", ["", "vit.", "model.vit."])
def test_hugging_faces_names_are_read_under_any_prefix(tmp_path, prefix):
    path = tmp_path / "model.safetensors"
    state = write_hugging_face_file(path, MICRO, prefix)
    vit, report = load(path)
    assert_loaded(vit, state)
    assert report.pretraining == "Hugging Face's"
    assert set(report.ignored) <= {"decoder.mask_token", "decoder.decoder_norm.bias"}


@pytest.mark.parametrize("name", ["embeddings.distillation_token", "encoder.layer.1.scale.lambda1"])
def test_hugging_faces_further_modules_are_refused(tmp_path, name):
    path = tmp_path / "model.safetensors"
    write_hugging_face_file(path, MICRO, "")
    content = {**load_file(path), name: torch.zeros(3)}
    save_file(content, path)
    assert "modules that this ViT does not have" in refusal(path)


def test_a_cut_file_of_hugging_face_names_the_tensor(tmp_path):
    path = tmp_path / "model.safetensors"
    write_hugging_face_file(path, MICRO, "")
    content = load_file(path)
    del content["encoder.layer.2.attention.attention.key.bias"]
    save_file(content, path)
    assert "encoder.layer.2.attention.attention.key.bias" in refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_not_finite_are_refused_by_tensor(path, value, dtype):
    state = {name: tensor.to(dtype) for name, tensor in STATE.items()}
    state["blocks.3.mlp.fc2.bias"] = state["blocks.3.mlp.fc2.bias"].index_fill(
        0, torch.tensor([5]), value
    )
    torch.save({"model": state}, path)
    text = refusal(path)
    assert text.startswith(f"'{path}' holds NaN or infinite numbers in 1 of {len(STATE)} tensors")
    assert "(blocks.3.mlp.fc2.bias)" in text


def test_numbers_that_are_not_loaded_may_be_anything(path):
    torch.save({**STATE, "head.bias": torch.tensor([float("nan")])}, path)
    assert_loaded(load(path)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_converted(path, dtype):
    state = {name: tensor.to(dtype) for name, tensor in STATE.items()}
    torch.save(state, path)
    assert_loaded(load(path)[0], {name: tensor.float() for name, tensor in state.items()})


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_other_than_floating_point_numbers_are_refused(path, dtype):
    torch.save({**STATE, "pos_embed": STATE["pos_embed"].to(dtype)}, path)
    text = refusal(path)
    assert f"1 of no floating-point numbers (pos_embed is {dtype})" in text


def test_a_transposed_weight_is_called_so(path):
    torch.save({**STATE, "blocks.0.mlp.fc1.weight": STATE["blocks.0.mlp.fc1.weight"].T}, path)
    expected = "blocks.0.mlp.fc1.weight is (12, 48) but the ViT needs (48, 12) (transposed)"
    assert expected in refusal(path)


def test_a_shape_is_said_with_both_sizes(path):
    torch.save({**STATE, "norm.weight": torch.ones(1, 12)}, path)
    assert "norm.weight is (1, 12) but the ViT needs (12,)" in refusal(path)


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_an_index_of_several_files_is_called_so(tmp_path, name):
    files = {"a": "model-00001-of-00002.bin", "b": "model-00002-of-00002.bin", "c": "../x"}
    (tmp_path / name).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    text = refusal(tmp_path / name)
    assert "only the index of weights in 3 files" in text and files["a"] in text


@pytest.mark.parametrize("text", ['{"architectures": ["ViT"]}', "[]", '{"weight_map": 3}', "{"])
def test_another_json_file_is_called_so(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert "is a text (JSON), not weights" in refusal(tmp_path / "config.json")


def test_a_checkpoint_of_a_run_is_called_so(path):
    torch.save({"model": {"roi_heads.weight": torch.zeros(3)}, "frozen": {}}, path)
    assert "is a checkpoint of a run, which holds what was trained but no frozen ViT" in refusal(
        path
    )


def test_one_part_of_a_divided_file_misses_the_rest(tmp_path):
    path = tmp_path / "model-00001-of-00002.safetensors"
    save_file({name: value for name, value in STATE.items() if "blocks.4" not in name}, path)
    assert re.search(r"12 missing \(blocks\.4\.", refusal(path))


def test_maes_decoder_under_a_prefix_is_ignored(path):
    state = write_mae_file(path, MICRO, with_decoder=True)
    torch.save({"model": prefixed("module.", state)}, path)
    vit, report = load(path)
    assert_loaded(vit, state)
    assert report.pretraining == "MAE" and len(report.ignored) == 20
