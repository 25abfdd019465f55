import socket
import time

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from timm.layers import resample_patch_embed

from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT, build_vit, fingerprint, timm_models
from bpt_det.vit.weights.readers import describe_images

# timm's own small ones. The second: register token, no class token, layer scale, average pooling.
PLAIN, REGISTER = "test_vit.r160_in1k", "test_vit2.r160_in1k"
SIZES = {
    PLAIN: {"embed_dim": 64, "num_blocks": 6, "num_heads": 2, "patch_size": 16},
    REGISTER: {"embed_dim": 64, "num_blocks": 8, "num_heads": 2, "patch_size": 16},
}


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def cache_weights(hub_cache, name, change=lambda state: None):
    """Put random weights with timm's own names and shapes where the hub would leave them."""
    torch.manual_seed(7)
    state = {
        key: torch.rand_like(value) / 9 + value.ndim % 2  # norms around 1
        for key, value in timm.create_model(name).state_dict().items()
    }
    change(state)
    repository = hub_cache / f"models--timm--{name}"
    snapshot = repository / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    save_file(state, snapshot / "model.safetensors")
    return state


def refusal(name, **sizes):
    with pytest.raises(InputError) as caught:
        build_vit(**{**SIZES.get(name, SIZES[PLAIN]), **sizes}, checkpoint=f"timm:{name}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", SIZES)
def test_a_timm_name_gives_timms_network_with_its_weights_from_the_cache(hub_cache, name):
    state = cache_weights(hub_cache, name)
    vit = build_vit(**SIZES[name], checkpoint=f"timm:{name}")
    published = timm.create_model(name).eval()
    published.load_state_dict(state)
    images = torch.randn(2, 3, 160, 160)
    # One of the two norms is none; behind average pooling timm has the second.
    expected = published.fc_norm(published.forward_features(images))
    torch.testing.assert_close(vit.eval()(images), expected)
    assert vit.pos_embed.shape == published.pos_embed.shape


@pytest.mark.parametrize("name", SIZES)
def test_prompts_stand_between_the_prefix_tokens_and_the_patches(hub_cache, name):
    cache_weights(hub_cache, name)
    vit = build_vit(**SIZES[name], checkpoint=f"timm:{name}").double()
    model = PromptedViT(vit, BilinearPrompt(7, rank=3, embed_dim=64), "last_1").double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    tokens = vit._pos_embed(vit.patch_embed(images))
    for block in vit.blocks[:-1]:
        tokens = block(tokens)
    prompts = model.prompts[str(len(vit.blocks) - 1)](2)
    expected = vit.blocks[-1](torch.cat([tokens[:, :1], prompts, tokens[:, 1:]], dim=1))
    torch.testing.assert_close(model.forward_tokens(images), expected)
    torch.testing.assert_close(model(images), expected[:, 1 + 7 :])


def test_a_timm_network_is_frozen_and_its_prompts_learn(hub_cache):
    cache_weights(hub_cache, REGISTER)
    vit = build_vit(**SIZES[REGISTER], checkpoint=f"timm:{REGISTER}")
    model = PromptedViT(vit, BilinearPrompt(7, rank=3, embed_dim=64), "last_2")
    model(torch.randn(2, 3, 64, 96)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.prompts.parameters())
    assert not any(p.requires_grad for p in vit.parameters())


def test_images_of_any_size_are_embedded_as_timm_does(hub_cache):
    cache_weights(hub_cache, REGISTER)
    model = PromptedViT(build_vit(**SIZES[REGISTER], checkpoint=f"timm:{REGISTER}"))
    images = torch.randn(1, 3, 96, 64)
    expected = model.vit.forward_intermediates(
        images, indices=1, norm=False, intermediates_only=True, output_fmt="NLC"
    )[0]
    torch.testing.assert_close(model(images), expected)


def test_the_final_norm_is_always_vit_norm(hub_cache):
    state = cache_weights(hub_cache, REGISTER)
    vit = build_vit(**SIZES[REGISTER], checkpoint=f"timm:{REGISTER}")
    assert torch.equal(vit.norm.weight, state["fc_norm.weight"])
    assert isinstance(vit.fc_norm, torch.nn.Identity)


def test_the_report_names_the_head_that_is_left_out(hub_cache, caplog):
    cache_weights(hub_cache, REGISTER)
    with caplog.at_level("DEBUG", logger="bpt_det"):
        vit = build_vit(**SIZES[REGISTER], checkpoint=f"timm:{REGISTER}")
    lines = caplog.messages[-1].splitlines()
    assert lines[0] == f"timm's weights from timm:{REGISTER}"
    assert lines[1].startswith(f"  loaded:     {len(vit.state_dict())} tensors, ")
    assert lines[2:] == [
        "  resampled:  nothing",
        "  ignored:    head.weight, head.bias",
        "  missing:    nothing",
        "  images:     trained with pixel_mean=[127.5, 127.5, 127.5] "
        "pixel_std=[127.5, 127.5, 127.5]",
    ]


def test_the_report_tells_the_normalization_only_where_it_is_not_imagenets():
    assert describe_images((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) == ""
    assert describe_images([0.5, 0.25, 0.75], [0.1, 0.2, 0.3]) == (
        "trained with pixel_mean=[127.5, 63.75, 191.25] pixel_std=[25.5, 51.0, 76.5]"
    )


def test_the_patch_embedding_is_resampled_and_the_grid_kept(hub_cache, caplog):
    state = cache_weights(hub_cache, PLAIN)
    sizes = {**SIZES[PLAIN], "patch_size": 8, "pretrained_patch_size": 16}
    with caplog.at_level("DEBUG", logger="bpt_det"):
        vit = build_vit(**sizes, checkpoint=f"timm:{PLAIN}")
    expected = resample_patch_embed(state["patch_embed.proj.weight"], [8, 8])
    assert torch.equal(vit.patch_embed.proj.weight, expected)
    assert torch.equal(vit.pos_embed, state["pos_embed"])
    assert vit.patch_embed.grid_size == (10, 10) and vit.patch_embed.patch_size == (8, 8)
    assert "  resampled:  patch_embed.proj.weight 16x16 -> 8x8 pixels\n" in caplog.messages[-1]


def test_every_size_that_differs_is_named_with_the_override():
    text = refusal(PLAIN, embed_dim=768, num_blocks=12, num_heads=12, patch_size=8)
    assert text.startswith(
        f"'timm:{PLAIN}' has embed_dim=64, not 768, num_blocks=6, not 12, num_heads=2, not 12, "
    )
    override = "embed_dim=64 num_blocks=6 num_heads=2 patch_size=8 pretrained_patch_size=16"
    assert "patches of 16 pixels, not 8" in text and override in text


def test_sizes_are_compared_before_anything_is_downloaded():
    text = refusal(
        "vit_base_patch14_dinov2.lvd142m",
        **{"embed_dim": 768, "num_blocks": 12, "num_heads": 12, "patch_size": 16},
    )
    assert text.startswith("'timm:vit_base_patch14_dinov2.lvd142m' has patches of 14 pixels, not ")
    assert "patch_size=16 pretrained_patch_size=14" in text


@pytest.mark.parametrize("name", ["vit_bse_patch16_224.mae", "vit_base_patch16_224.mea"])
def test_an_unknown_name_or_tag_is_answered_with_the_nearest(name):
    text = refusal(name)
    assert f"has no pre-trained ViT '{name}'; the nearest names are: " in text
    assert "vit_base_patch16_224.mae" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("samvit_base_patch16.sa1b", "within windows of a grid, with positions relative to it"),
        ("beit_base_patch16_224.in22k_ft_in22k", "positions of patches relative to each other"),
        ("vit_relpos_base_patch16_224.sw_in1k", "positions of patches relative to each other"),
        ("naflexvit_base_patch16_gap.e300_s576_in1k", "patches with coordinates and masks"),
        ("hiera_base_224.mae", "its stages merge or pool patches"),
        ("swin_tiny_patch4_window7_224.ms_in1k", "within windows of a grid that shrinks"),
        ("vit_base_r50_s16_224.orig_in21k", "its patches come from a convolutional network"),
        ("cait_xxs24_224.fb_dist_in1k", "its class token meets the patches in blocks of its own"),
        ("resnet50.a1_in1k", "it is no column of equal blocks"),
    ],
)
def test_a_network_that_cannot_be_prompted_is_refused_with_its_own_reason(name, reason):
    text = refusal(name)
    assert text.startswith(f"'timm:{name}' (") and " cannot be prompted: " in text
    assert reason in text
    assert "the nearest names that can are: " in text


def test_without_a_network_it_fails_at_once_and_says_before_what_it_was_about_to_fetch(
    monkeypatch, caplog
):
    """Looking up the name of the hub alone takes longer than it may."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(timm_models, "_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: time.sleep(1))
    start = time.perf_counter()
    with caplog.at_level("INFO", logger="bpt_det"):
        text = refusal(PLAIN)
    assert "ConnectionError: http://hub.invalid did not answer within 0.2 s" in text
    assert caplog.messages[-1].startswith(
        f"'timm:{PLAIN}' is fetched from http://hub.invalid/timm/{PLAIN} (license: apache-2.0) into"
    )
    assert time.perf_counter() - start < 5


def test_a_file_in_the_cache_is_loaded_without_asking_the_hub(hub_cache, monkeypatch):
    cache_weights(hub_cache, PLAIN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args: pytest.fail("the hub was asked"))
    build_vit(**SIZES[PLAIN], checkpoint=f"timm:{PLAIN}")
    assert constants.HF_HUB_OFFLINE is False


def test_an_unknown_architecture_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="no architecture 'vit_base_patch16_dinov4'.*dinov3"):
        build_vit(**SIZES[PLAIN], architecture="vit_base_patch16_dinov4")


def test_weights_that_cannot_be_downloaded_are_refused_in_one_line():
    text = refusal(PLAIN)
    assert text.startswith(f"'timm:{PLAIN}' could not be loaded by timm (")
    assert "where there is a network" in text and "Hugging Face cache" in text


@pytest.mark.parametrize("name", ["norm.weight", "blocks.2.attn.qkv.bias"])
def test_weights_that_lack_a_tensor_are_refused(hub_cache, name):
    cache_weights(hub_cache, PLAIN, lambda state: state.pop(name))
    assert f'Missing key(s) in state_dict: "{name}"' in refusal(PLAIN)


def test_a_damaged_file_in_the_cache_is_refused(hub_cache):
    cache_weights(hub_cache, PLAIN)
    (path,) = hub_cache.rglob("model.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    assert f"'timm:{PLAIN}' could not be loaded by timm (SafetensorError: " in refusal(PLAIN)


def test_building_does_not_disturb_the_global_generator_and_repeats(hub_cache):
    cache_weights(hub_cache, PLAIN)
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    first = build_vit(**SIZES[PLAIN], checkpoint=f"timm:{PLAIN}")
    assert torch.equal(torch.rand(5), expected)
    assert fingerprint(first) == fingerprint(build_vit(**SIZES[PLAIN], checkpoint=f"timm:{PLAIN}"))


def test_stochastic_depth_reaches_timms_network(hub_cache):
    cache_weights(hub_cache, PLAIN)
    vit = build_vit(**SIZES[PLAIN], drop_path_rate=0.2, checkpoint=f"timm:{PLAIN}")
    assert vit.blocks[5].drop_path1.drop_prob == pytest.approx(0.2)
