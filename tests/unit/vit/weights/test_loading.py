import pytest
import torch
from timm.layers import resample_abs_pos_embed

from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit, load_weights
from tests.support.vits import TINY_PRETRAIN_SIZE, TINY_SIZES, FolderServer, write_mae_file

MICRO = {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE}
NUM_TENSORS = 4 + 12 * 5 + 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mae.pth"


@pytest.fixture
def vit():
    return build_vit(**MICRO)


def rewrite(path, change):
    """Apply ``change`` to the state of a file."""
    content = torch.load(path, weights_only=True)
    change(content["model"])
    torch.save(content, path)


def test_the_values_of_an_encoder_file_are_loaded_as_they_are(path, vit):
    state = write_mae_file(path, MICRO)
    report = load_weights(vit, str(path))
    loaded = vit.state_dict()
    assert loaded.keys() == state.keys() == set(report.loaded)
    assert len(report.loaded) == NUM_TENSORS
    for name in state:
        assert torch.equal(loaded[name], state[name]), name
    assert report.num_parameters == sum(value.numel() for value in state.values())
    assert report.ignored == () and report.resampled == ""


def test_a_vit_is_built_with_the_weights_of_its_checkpoint(path):
    state = write_mae_file(path, MICRO, seed=4)
    vit = build_vit(**MICRO, checkpoint=str(path))
    assert all(torch.equal(vit.state_dict()[name], state[name]) for name in state)


def test_a_bare_state_dict_loads_too(path, vit):
    state = write_mae_file(path, MICRO)
    torch.save(state, path)
    load_weights(vit, str(path))
    assert torch.equal(vit.state_dict()["pos_embed"], state["pos_embed"])


def test_the_decoder_is_dropped_and_named_in_the_report(path, vit):
    state = write_mae_file(path, MICRO, with_decoder=True)
    decoder = {name for name in state if name.startswith("decoder_") or name == "mask_token"}
    report = load_weights(vit, str(path))
    assert len(report.loaded) == NUM_TENSORS
    assert set(report.ignored) == decoder and len(decoder) == 20
    assert "mask_token, decoder_pos_embed" in str(report)
    for name in report.loaded:
        assert torch.equal(vit.state_dict()[name], state[name]), name


def test_other_weights_than_the_vits_are_named_in_the_report(path, vit):
    write_mae_file(path, MICRO)
    rewrite(path, lambda state: state.update({"head.weight": torch.zeros(3, 12)}))
    assert load_weights(vit, str(path)).ignored == ("head.weight",)


@pytest.mark.parametrize("pretrain_size", [16, 40])
def test_positions_of_another_grid_are_resampled_as_timm_does(path, vit, pretrain_size):
    state = write_mae_file(path, {**MICRO, "pretrain_size": pretrain_size})
    report = load_weights(vit, str(path))
    expected = resample_abs_pos_embed(state["pos_embed"], (6, 6), num_prefix_tokens=1)
    assert expected.shape == (1, 37, 12)
    assert torch.equal(vit.state_dict()["pos_embed"], expected)
    side = pretrain_size // 4
    assert f"  resampled:  pos_embed {side}x{side} -> 6x6 " in str(report)


def test_the_report_has_five_lines(path, vit, caplog):
    write_mae_file(path, {**MICRO, "pretrain_size": 40}, with_decoder=True)
    with caplog.at_level("DEBUG", logger="bpt_det"):
        report = load_weights(vit, str(path))
    assert str(report).splitlines() == [
        f"MAE weights from {path}",
        f"  loaded:     {NUM_TENSORS} tensors, {report.num_parameters:,} parameters",
        "  resampled:  pos_embed 10x10 -> 6x6 (pretrain_size=40 would keep it, and resample only "
        "once, to the image)",
        "  ignored:    mask_token, decoder_pos_embed, decoder_embed.weight, decoder_embed.bias "
        "and 16 more",
        "  missing:    nothing",
    ]
    assert str(report) in caplog.messages


def test_the_report_of_a_file_that_fits_has_five_lines_too(path, vit):
    write_mae_file(path, MICRO)
    lines = str(load_weights(vit, str(path))).splitlines()
    assert len(lines) == 5
    assert lines[2:] == ["  resampled:  nothing", "  ignored:    nothing", "  missing:    nothing"]


def refusal(path, vit):
    """Return the text of the error, after checking that it changed nothing in the ViT."""
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(vit, str(path))
    assert all(torch.equal(before[name], value) for name, value in vit.state_dict().items())
    return str(caught.value)


def test_missing_keys_are_named(path, vit):
    write_mae_file(path, MICRO)
    rewrite(path, lambda state: (state.pop("blocks.1.attn.qkv.bias"), state.pop("norm.weight")))
    text = refusal(path, vit)
    assert text.startswith(
        f"'{path}' does not hold this ViT: 2 missing (blocks.1.attn.qkv.bias, norm.weight). "
    )
    assert all(name in text for name in ("embed_dim", "num_blocks", "patch_size"))


def test_wrong_sizes_are_named_with_both_shapes(path, vit):
    write_mae_file(path, {**MICRO, "patch_size": 3, "pretrain_size": 18})
    text = refusal(path, vit)
    assert text.startswith(
        f"'{path}' does not hold this ViT: 1 of another size (patch_embed.proj.weight is "
        "(12, 3, 3, 3) but the ViT needs (12, 3, 4, 4)). "
    )
    assert "patch_size=4 pretrained_patch_size=3" in text


def test_a_wider_file_is_refused_and_its_positions_are_not_resampled(path, vit):
    write_mae_file(path, {**MICRO, "embed_dim": 20, "pretrain_size": 16})
    text = refusal(path, vit)
    assert f"{NUM_TENSORS} of another size (" in text
    assert "pos_embed is (1, 17, 20) but the ViT needs (1, 37, 12)" in text


def test_further_blocks_of_a_deeper_file_are_named(path, vit):
    write_mae_file(path, {**MICRO, "num_blocks": 7})
    assert refusal(path, vit).startswith(
        f"'{path}' does not hold this ViT: 24 of further blocks (blocks.5.norm1.weight, "
        "blocks.5.norm1.bias, blocks.5.attn.qkv.weight and 21 more). "
    )


def test_every_difference_is_named_at_once(path, vit):
    write_mae_file(path, {**MICRO, "num_blocks": 6})

    def spoil(state):
        state["norm.bias"] = torch.zeros(13)
        del state["cls_token"]

    rewrite(path, spoil)
    text = refusal(path, vit)
    assert "1 missing (cls_token); 1 of another size (norm.bias is (13,)" in text
    assert "; 12 of further blocks (blocks.5.norm1.weight" in text


@pytest.mark.parametrize("shape", [(1, 21, 12), (1, 0, 12), (37, 12), (37,)])
def test_positions_that_are_no_square_grid_are_a_wrong_size(path, vit, shape):
    write_mae_file(path, MICRO)
    rewrite(path, lambda state: state.update(pos_embed=torch.zeros(shape)))
    assert f"pos_embed is {shape} but the ViT needs (1, 37, 12)" in refusal(path, vit)


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"epoch": 7}, torch.zeros(3)])
def test_a_file_without_a_state_dict_is_refused(path, vit, content):
    torch.save(content, path)
    text = refusal(path, vit)
    assert text.startswith(f"'{path}' holds no state_dict")
    assert "'model'" in text and "'state_dict'" in text


def test_a_missing_file_is_named_with_its_source_license_and_hint(path):
    with pytest.raises(InputError) as caught:
        build_vit(**MICRO, checkpoint=str(path))
    text = str(caught.value)
    assert text.startswith(f"weights '{path}' do not exist. ")
    assert "https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth" in text
    assert "CC BY-NC 4.0: non-commercial" in text
    assert (caught.value.parameter, caught.value.hint) == ("checkpoint", "weights")


def test_an_address_is_loaded_like_a_path(tmp_path, vit, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # its cache is in hub/checkpoints
    monkeypatch.setenv("no_proxy", "*")
    state = write_mae_file(tmp_path / "mae_pretrain.pth", MICRO)

    with FolderServer(tmp_path) as server:
        address = server.address("mae_pretrain.pth")
        report = load_weights(vit, address)
    assert str(report).startswith(f"MAE weights from {address}\n")
    assert torch.equal(vit.state_dict()["cls_token"], state["cls_token"])


def test_a_real_pretrained_file_loads_with_nothing_left_over(mae_tiny_path):
    sizes = {"embed_dim": 192, "num_blocks": 12, "num_heads": 3, "patch_size": 8}
    vit = build_vit(**sizes, pretrain_size=64)
    report = load_weights(vit, str(mae_tiny_path))
    assert report.ignored == () and report.resampled == ""
    stored = torch.load(mae_tiny_path, weights_only=True)["model"]
    assert stored.keys() == vit.state_dict().keys()
    assert all(torch.equal(value, stored[name]) for name, value in vit.state_dict().items())
