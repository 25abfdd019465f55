import argparse
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit, load_weights
from bpt_det.vit.weights.files import read_weights
from tests.support.vits import TINY_PRETRAIN_SIZE, TINY_SIZES, timm_state, write_mae_file
from tests.support.weight_files import (
    write_google_file,
    write_hugging_face_file,
    write_maws_file,
    write_moco_file,
    write_timm_file,
    write_vitdet_file,
)

MICRO = {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE}
MOCO = {**MICRO, "embed_dim": 24, "num_heads": 12}  # all official ones have 12 heads
FORMATS = {
    "MoCo v3": (write_moco_file, "vit-s-300ep.pth.tar", MOCO),
    "timm's": (write_timm_file, "model.safetensors", MICRO),
    "MAWS": (write_maws_file, "maws_vit_2b14.pt", MICRO),
    "Google's supervised": (write_google_file, "ViT-B_16.npz", MICRO),
    "ViTDet": (write_vitdet_file, "model_final_435fa9.pkl", MICRO),
    "Hugging Face's": (write_hugging_face_file, "vit-mae-base.safetensors", MICRO),
}


@pytest.fixture(params=FORMATS)
def published(request, tmp_path):
    """Name of the format, writer, path, sizes."""
    writer, file_name, sizes = FORMATS[request.param]
    return request.param, writer, tmp_path / file_name, sizes


def load(path, sizes, **kwargs):
    vit = build_vit(**sizes)
    return vit, load_weights(vit, str(path), **kwargs)


def refusal(path, sizes):
    """Return the text of the error, after checking that it changed nothing in the ViT."""
    vit = build_vit(**sizes)
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(vit, str(path))
    assert all(torch.equal(before[name], value) for name, value in vit.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_tensor_of_every_format_lands_under_timms_name(published):
    name, write, path, sizes = published
    state = write(path, sizes)
    vit, report = load(path, sizes)
    loaded = vit.state_dict()
    assert report.pretraining == name
    assert str(report).startswith(f"{name} weights from {path}\n")
    made = {"cls_token", "norm.weight", "norm.bias"} if report.made else set()
    assert set(loaded) == set(report.loaded) == set(state) | made
    for key, value in state.items():
        torch.testing.assert_close(loaded[key], value, rtol=0, atol=0, msg=key)


def test_a_vit_is_built_from_every_format(published):
    _, write, path, sizes = published
    state = write(path, sizes)
    vit = build_vit(**sizes, checkpoint=str(path))
    assert torch.equal(
        vit.state_dict()["blocks.3.mlp.fc2.weight"], state["blocks.3.mlp.fc2.weight"]
    )


def test_every_format_is_recognized_by_its_content_not_by_its_name(published, tmp_path):
    name, write, path, sizes = published
    write(path, sizes)
    renamed = path.rename(tmp_path / "weights")
    _, report = load(renamed, sizes)
    # only a bare state_dict in timm's names could be anybody's
    assert report.pretraining == {"MAWS": "timm's"}.get(name, name)


def test_positions_of_every_format_are_resampled_to_another_grid(published):
    _, write, path, sizes = published
    write(path, {**sizes, "pretrain_size": 40})
    _, report = load(path, sizes)
    assert report.resampled.startswith("pos_embed 10x10 -> 6x6 (pretrain_size=40 would keep it")


def test_a_shallower_file_of_every_format_misses_blocks(published):
    _, write, path, sizes = published
    write(path, {**sizes, "num_blocks": 4})
    assert refusal(path, sizes).startswith(
        f"'{path}' does not hold this ViT: 12 missing (blocks.4.norm1.weight, "
    )


def test_a_deeper_file_of_every_format_has_further_blocks(published):
    _, write, path, sizes = published
    write(path, {**sizes, "num_blocks": 6})
    assert re.search(r": 12 of further blocks \(blocks\.5\.", refusal(path, sizes))


def test_a_wider_file_of_every_format_is_named_with_both_shapes(published):
    _, write, path, sizes = published
    write(path, {**sizes, "embed_dim": 36})
    pattern = (
        rf"\d+ of another size \(\S+ is \([^)]*\b36\) but the ViT needs .*{sizes['embed_dim']}"
    )
    assert re.search(pattern, refusal(path, sizes))


def test_a_truncated_file_of_every_format_is_named(published):
    _, write, path, sizes = published
    write(path, sizes)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert re.match(
        rf"'{re.escape(str(path))}' \({len(whole) // 2} bytes\) is truncated or not a ",
        refusal(path, sizes),
    )


@pytest.mark.parametrize(
    ("name", "source", "license"),
    [
        ("vit-b-300ep.pth.tar", "/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar", "CC BY-NC 4.0"),
        ("maws_vit_2b14.pt", "/maws/pretrain/maws/vit_2b14.pt", "CC BY-NC 4.0"),
        ("ViT-B_16.npz", "/vit_models/imagenet21k/ViT-B_16.npz", "Apache 2.0"),
        ("model_final_435fa9.pkl", "arXiv:2203.16527", "CC BY-SA 3.0"),
        ("model.safetensors", "https://huggingface.co/timm", "license"),
        ("vit-mae-base.safetensors", "https://huggingface.co, each", "license"),
        ("anything.pth", "/mae/pretrain/mae_pretrain_vit_base.pth", "CC BY-NC 4.0"),
    ],
)
def test_a_missing_file_is_named_with_its_own_source_and_license(tmp_path, name, source, license):
    text = refusal(tmp_path / name, MICRO)
    assert text.startswith(f"weights '{tmp_path / name}' do not exist. ")
    assert source in text and license in text


def test_mocos_heads_predictor_and_momentum_encoder_are_ignored_and_named(tmp_path):
    write_moco_file(tmp_path / "moco.pth.tar", MOCO)
    _, report = load(tmp_path / "moco.pth.tar", MOCO)
    first = [name.partition(".")[0] for name in report.ignored]
    assert set(first) == {"head", "module"}
    assert first.count("head") == 6 + 6 + 4  # of the base encoder
    assert sum("momentum_encoder" in name for name in report.ignored) == 66 + 16
    assert sum("predictor" in name for name in report.ignored) == 6 + 4


def test_mocos_file_is_read_with_its_namespace_and_no_other_objects(tmp_path):
    path = tmp_path / "moco.pth.tar"
    write_moco_file(path, MOCO)
    content = torch.load(path, weights_only=False)
    assert isinstance(content["args"], argparse.Namespace)
    torch.save({**content, "args": np.random.RandomState}, path)
    assert "holds Python objects besides tensors" in refusal(path, MOCO)


@pytest.mark.parametrize("arch", ["vit_small", "vit_base"])
def test_mocos_12_heads_are_insisted_on_though_no_shape_shows_them(tmp_path, arch):
    write_moco_file(tmp_path / "moco.pth.tar", MOCO, arch)
    text = refusal(tmp_path / "moco.pth.tar", {**MOCO, "num_heads": 6})
    assert "does not hold this ViT: num_heads=6 but it was made with 12. " in text


def test_mocos_convolutional_stem_is_refused(tmp_path):
    path = tmp_path / "moco.pth.tar"
    write_moco_file(path, MOCO, "vit_conv_small")
    content = torch.load(path, weights_only=False)
    prefix = "module.base_encoder.patch_embed.proj"
    weight = content["state_dict"].pop(f"{prefix}.weight")
    content["state_dict"][f"{prefix}.0.weight"] = weight
    torch.save(content, path)
    text = refusal(path, MOCO)
    assert "1 missing (patch_embed.proj.weight)" in text
    assert "1 for modules that this ViT does not have (patch_embed.proj.0.weight)" in text


def test_a_classification_head_in_timms_names_is_ignored_and_named(tmp_path):
    write_timm_file(tmp_path / "model.safetensors", MICRO)
    _, report = load(tmp_path / "model.safetensors", MICRO)
    assert set(report.ignored) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "deit.pth"])
def test_timms_names_are_read_from_files_of_torch_save_too(tmp_path, name):
    state = {**timm_state(MICRO), "head.weight": torch.zeros(3, 12), "head.bias": torch.zeros(3)}
    torch.save({"model": state} if name == "deit.pth" else state, tmp_path / name)
    _, report = load(tmp_path / name, MICRO)
    assert report.pretraining == "timm's" and len(report.ignored) == 2


@pytest.mark.parametrize(
    "part", ["blocks.2.ls1.gamma", "reg_token", "norm_pre.weight", "dist_token"]
)
def test_tensors_that_change_the_computation_are_never_ignored(tmp_path, part):
    save_file({**timm_state(MICRO), part: torch.zeros(12)}, tmp_path / "model.safetensors")
    text = refusal(tmp_path / "model.safetensors", MICRO)
    assert f"1 for modules that this ViT does not have ({part})" in text


def test_the_vision_encoder_of_a_maws_clip_model_is_read_alone(tmp_path):
    state = write_maws_file(tmp_path / "vit_b16_xlmr_b.pt", MICRO, clip=True)
    vit, report = load(tmp_path / "vit_b16_xlmr_b.pt", MICRO)
    assert report.pretraining == "MAWS" and len(report.ignored) == 4
    assert all(torch.equal(vit.state_dict()[name], value) for name, value in state.items())


def test_maws_is_recognized_by_a_width_that_nobody_else_published(tmp_path):
    sizes = {"embed_dim": 2560, "num_blocks": 1, "num_heads": 32, "patch_size": 2}
    sizes |= {"pretrain_size": 4, "mlp_ratio": 0.01}
    state = build_vit(**sizes).state_dict()
    torch.save(state, tmp_path / "weights.pt")
    assert load(tmp_path / "weights.pt", sizes)[1].pretraining == "MAWS"


def test_missing_tensors_of_vitdet_are_made_and_its_further_ones_ignored(tmp_path):
    path = tmp_path / "model_final.pkl"
    write_vitdet_file(path, MICRO)
    vit, report = load(path, MICRO)
    assert torch.equal(vit.cls_token, torch.zeros(1, 1, 12))
    assert torch.equal(vit.norm.weight, torch.ones(12))
    assert torch.equal(vit.norm.bias, torch.zeros(12))
    assert str(report).splitlines()[-1] == "  made:       cls_token (zeros), norm (ones and zeros)"
    relative = {f"backbone.net.blocks.{i}.attn.rel_pos_{axis}" for i in range(5) for axis in "hw"}
    assert {name for name in report.ignored if "rel_pos" in name} == relative
    assert len(report.ignored) == len(relative) + 4  # and the detector's four


def test_vitdets_pickle_and_torch_file_give_the_same_vit(tmp_path):
    write_vitdet_file(tmp_path / "a.pkl", MICRO)
    write_vitdet_file(tmp_path / "a.pth", MICRO)
    pickled, saved = (load(tmp_path / name, MICRO)[0].state_dict() for name in ("a.pkl", "a.pth"))
    assert all(torch.equal(pickled[name], saved[name]) for name in saved)


def test_a_file_of_another_network_is_refused_with_the_formats_that_are_read(tmp_path):
    path = tmp_path / "resnet.pth"
    torch.save({"conv1.weight": torch.zeros(2, 3, 7, 7), "bn1.bias": torch.zeros(2)}, path)
    text = refusal(path, MICRO)
    assert text.startswith(f"'{path}' is in no known format: its names are conv1.weight, bn1.bias.")
    for name in (
        "Google's supervised",
        "MoCo v3",
        "ViTDet",
        "MAWS",
        "MAE",
        "timm's",
        "Hugging Face's",
    ):
        assert f"{name} (" in text
    assert "checkpoint=timm:NAME" in text


def test_maes_own_file_is_still_maes(tmp_path):
    write_mae_file(tmp_path / "w.pth", MICRO, with_decoder=True)
    assert load(tmp_path / "w.pth", MICRO)[1].pretraining == "MAE"
    assert "model" in read_weights(str(tmp_path / "w.pth"))
