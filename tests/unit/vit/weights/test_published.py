"""Files of each publisher, written here in its layout: read into timm's network, or refused."""

import re

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from bpt_det.utils.errors import InputError
from bpt_det.vit import BACKBONES, PromptedViT, build_vit, timm_models
from tests.support.families import images_of_size

SMALL = {"embed_dim": 24, "depth": 3, "num_heads": 3, "img_size": 48}
SIZES = {"embed_dim": 24, "num_blocks": 3, "num_heads": 3}


@pytest.fixture(autouse=True)
def small_architectures(monkeypatch):
    """timm's entries at a reduced size; everything else of them stays."""
    create = timm.create_model

    def create_small(name, **options):
        return create(name, **{**SMALL, **options})

    monkeypatch.setattr(timm, "create_model", create_small)
    timm_models.published_sizes.cache_clear()
    yield
    timm_models.published_sizes.cache_clear()


def random_network(architecture, **options):
    torch.manual_seed(5)
    vit = timm.create_model(architecture, dynamic_img_size=True, **options).eval()
    for parameter in vit.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return vit


def to_dinov3(state):
    """facebookresearch/dinov3: fused biases, registers called storage, scales, buffers of rope."""
    renamed = {"mask_token": torch.zeros(1, 24), "rope_embed.periods": torch.ones(2)}
    for name, value in state.items():
        name = name.replace("reg_token", "storage_tokens")
        name = re.sub(r"gamma_([12])", r"ls\1.gamma", name)
        renamed[name] = value
    for index in range(3):
        renamed[f"blocks.{index}.attn.qkv.bias"] = torch.zeros(72)
        renamed[f"blocks.{index}.attn.qkv.bias_mask"] = torch.ones(72)
    return renamed


def to_pe(state):
    """facebookresearch/perception_models: OpenCLIP's names."""
    swaps = [
        *(("patch_embed.proj", "conv1"), ("norm_pre", "ln_pre"), ("attn.qkv.", "attn.in_proj_")),
        *(
            ("attn.proj", "attn.out_proj"),
            ("blocks.", "transformer.resblocks."),
            ("mlp.fc1", "mlp.c_fc"),
        ),
        *(("mlp.fc2", "mlp.c_proj"), ("norm1", "ln_1"), ("norm2", "ln_2")),
        *(("gamma_1", "ls_1.gamma"), ("gamma_2", "ls_2.gamma")),
    ]
    renamed = {}
    for name, value in state.items():
        if name == "cls_token":
            name, value = "class_embedding", value[0, 0]
        elif name == "pos_embed":
            name, value = "positional_embedding", value[0]
        for new, old in swaps:
            name = name.replace(new, old)
        renamed[name] = value
    return renamed


def to_eva02(state):
    """baaivision/EVA, masked image modeling: last norm called norm, SwiGLU called w1 to w3."""
    renamed = {"mask_token": torch.zeros(1, 1, 24), "lm_head.weight": torch.zeros(5, 24)}
    for name, value in state.items():
        if name.startswith("head."):
            continue
        for new, old in (
            *(("fc_norm", "norm"), ("mlp.fc1_g", "mlp.w1"), ("mlp.fc1_x", "mlp.w2")),
            *(("mlp.fc2", "mlp.w3"), ("mlp.norm", "mlp.ffn_ln")),
            *(("q_proj.bias", "q_bias"), ("v_proj.bias", "v_bias")),
        ):
            name = name.replace(new, old)
        renamed[name] = value
    return {**renamed, "rope.freqs_cos": torch.ones(3)}


def to_dinov2(state):
    """facebookresearch/dinov2: registers have no position, and the class token has."""
    state = dict(state)
    positions = torch.cat([torch.randn(1, 1, 24), state.pop("pos_embed")], dim=1)
    class_token = state.pop("cls_token") - positions[:, :1]
    registers = state.pop("reg_token")
    others = {"pos_embed": positions, "cls_token": class_token, "register_tokens": registers}
    return {**state, **others, "mask_token": torch.zeros(1, 24)}


CASES = {
    "vit_base_patch16_dinov3": to_dinov3,
    "vit_pe_spatial_base_patch16_512": to_pe,
    "eva02_base_patch14_224": to_eva02,
    "vit_base_patch14_reg4_dinov2": to_dinov2,
    "vit_base_patch16_rope_mixed_224": dict,
}


def build(architecture, path, **settings):
    patch_size = 14 if "patch14" in architecture else 16
    sizes = {**SIZES, "patch_size": patch_size, **settings}
    return build_vit(**sizes, checkpoint=str(path), architecture=architecture)


@pytest.fixture(params=CASES)
def architecture(request, monkeypatch):
    monkeypatch.setitem(SMALL, "img_size", 42 if "patch14" in request.param else 48)
    return request.param


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_file_in_its_publishers_layout_gives_the_network_it_was_made_of(
    architecture, is_wrapped, tmp_path
):
    vit = random_network(architecture)
    state = CASES[architecture](vit.state_dict())
    torch.save({"model": state} if is_wrapped else state, tmp_path / "file.pth")
    loaded = build(architecture, tmp_path / "file.pth").eval()
    side = SMALL["img_size"]
    images = images_of_size(side, side * 2)
    model = PromptedViT(loaded)
    vit.norm = torch.nn.Identity()
    torch.testing.assert_close(model.forward_tokens(images), vit.forward_features(images))
    # The norm that it has after the blocks, or after the mean.
    norm = vit.fc_norm if "eva02" in architecture else random_network(architecture).norm
    tokens = torch.randn(2, 24)
    torch.testing.assert_close(loaded.norm(tokens), norm(tokens))


@pytest.mark.parametrize("name", ["dinov3_b", "eva02_b", "pe_core_b", "rope_mixed_b"])
def test_a_name_of_timms_gives_the_network_of_the_file_in_the_cache(name, tmp_path, monkeypatch):
    row = BACKBONES[name]
    monkeypatch.setitem(SMALL, "img_size", 3 * row.patch_size)
    vit = random_network(row.architecture)
    folder = tmp_path / f"models--timm--{row.timm_name}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123abc")
    (folder / "snapshots" / "0123abc").mkdir(parents=True)
    save_file(vit.state_dict(), folder / "snapshots" / "0123abc" / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    settings = {**SIZES, "patch_size": row.patch_size, "checkpoint": f"timm:{row.timm_name}"}
    model = PromptedViT(build_vit(**settings))
    images = images_of_size(2 * row.patch_size, 5 * row.patch_size)
    tokens = model.forward_tokens(images)
    normed = tokens if "eva02" in name else model.vit.norm(tokens)  # its norm is after the mean
    torch.testing.assert_close(normed, vit.forward_features(images))
    assert not any("head" in key or "attn_pool" in key for key in model.vit.state_dict())


def test_a_file_in_timms_layout_is_read_as_it_is(architecture, tmp_path):
    vit = random_network(architecture)
    save_file(vit.state_dict(), tmp_path / "model.safetensors")
    loaded = build(architecture, tmp_path / "model.safetensors")
    blocks = {name for name in loaded.state_dict() if name.startswith("blocks.")}
    assert blocks and all(
        torch.equal(loaded.state_dict()[name], vit.state_dict()[name]) for name in blocks
    )


def test_patches_are_resampled_and_the_grid_of_positions_is_kept(monkeypatch, tmp_path):
    monkeypatch.setitem(SMALL, "img_size", 42)
    vit = random_network("vit_base_patch14_reg4_dinov2")
    torch.save(vit.state_dict(), tmp_path / "file.pth")
    loaded = build(
        "vit_base_patch14_reg4_dinov2",
        tmp_path / "file.pth",
        patch_size=16,
        pretrained_patch_size=14,
    )
    assert loaded.patch_embed.patch_size == (16, 16)
    assert torch.equal(loaded.pos_embed, vit.pos_embed)


@pytest.mark.parametrize("other", ["vit_base_patch16_clip_224", "vit_pe_core_base_patch16_224"])
def test_a_file_of_another_family_is_refused_in_one_line(other, tmp_path):
    torch.save(random_network(other).state_dict(), tmp_path / "file.pth")
    with pytest.raises(InputError) as caught:
        build("vit_base_patch16_dinov3", tmp_path / "file.pth")
    text = str(caught.value)
    assert "does not hold this ViT: " in text and "\n" not in text
    assert "missing (" in text and "for modules that this ViT does not have (" in text


def test_a_file_of_dinov3_is_refused_by_a_plain_vit_in_one_line(tmp_path):
    state = to_dinov3(random_network("vit_base_patch16_dinov3").state_dict())
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(InputError, match="does not hold this ViT") as caught:
        build_vit(**SIZES, patch_size=16, pretrain_size=48, checkpoint=str(tmp_path / "file.pth"))
    assert "\n" not in str(caught.value)


def test_a_file_with_patches_of_another_size_is_refused(tmp_path):
    state = random_network("vit_base_patch16_dinov3").state_dict()
    state["patch_embed.proj.weight"] = torch.randn(24, 3, 14, 14)
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(InputError, match="its patches are of 14 pixels, not 16"):
        build("vit_base_patch16_dinov3", tmp_path / "file.pth")


def test_a_file_of_another_depth_is_refused(tmp_path):
    torch.save(random_network("vit_base_patch16_dinov3", depth=4).state_dict(), tmp_path / "f.pth")
    with pytest.raises(InputError, match=r"for modules that this ViT does not have \(blocks.3"):
        build("vit_base_patch16_dinov3", tmp_path / "f.pth")


def test_random_weights_of_an_architecture_repeat():
    first, second = (
        build_vit(**SIZES, patch_size=16, architecture="vit_base_patch16_dinov3", init_seed=3)
        for _ in range(2)
    )
    assert torch.equal(first.blocks[0].mlp.fc1.weight, second.blocks[0].mlp.fc1.weight)
