"""An encoder that was saved is read back as any published one."""

import types

import pytest
import torch
from safetensors import safe_open

from bpt_det.pretraining import SaveEncoder, save_encoder
from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit, load_weights
from bpt_det.vit.embedding import embed_images

SIZES = {"embed_dim": 16, "num_blocks": 2, "num_heads": 2, "patch_size": 4, "pretrain_size": 16}


def test_the_official_format_gives_the_same_encoder_bit_for_bit(tmp_path):
    vit = build_vit(**SIZES, init_seed=3)
    save_encoder(vit, tmp_path / "encoder.pth")
    assert set(torch.load(tmp_path / "encoder.pth", weights_only=True)) == {"model"}
    again = build_vit(**SIZES, init_seed=4)
    assert load_weights(again, str(tmp_path / "encoder.pth")).pretraining == "MAE"
    expected = vit.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())


def test_half_precision_is_stored_as_such_and_read_as_float32(tmp_path):
    vit = build_vit(**SIZES, init_seed=3)
    save_encoder(vit, tmp_path / "encoder.safetensors", half=True)
    with safe_open(tmp_path / "encoder.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}
    again = build_vit(**SIZES, checkpoint=str(tmp_path / "encoder.safetensors"))
    for name, value in again.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, vit.state_dict()[name].half().float())


def test_another_suffix_is_refused_and_nothing_written(tmp_path):
    text = r"saved as \.pth or \.safetensors, but 'encoder.bin' is neither"
    with pytest.raises(InputError, match=text):
        save_encoder(build_vit(**SIZES), tmp_path / "encoder.bin")
    with pytest.raises(InputError, match=text):  # before the training, not after it
        SaveEncoder("encoder.bin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("iteration", "is_stopped", "is_written"),
    [(5, False, True), (3, True, True), (3, False, False)],
)
def test_the_hook_writes_at_the_end_of_a_training_and_not_after_an_interruption(
    iteration, is_stopped, is_written, tmp_path
):
    hook = SaveEncoder(str(tmp_path / "encoder.pth"))
    model = types.SimpleNamespace(encoder=build_vit(**SIZES))
    hook.trainer = types.SimpleNamespace(
        iter=iteration, max_iter=5, is_stopped=is_stopped, model=model
    )
    hook.after_train()
    assert (tmp_path / "encoder.pth").exists() == is_written


def test_the_hook_centers_what_it_saves_and_leaves_the_model_alone(tmp_path):
    encoder = build_vit(**SIZES)
    model = types.SimpleNamespace(encoder=encoder, normalize=lambda batch: batch[0]["image"])
    before = encoder.blocks[-1].mlp.fc2.bias.clone()
    batches = [[{"image": torch.randn(2, 3, 16, 16)}]]
    hook = SaveEncoder(str(tmp_path / "encoder.pth"), center_on=batches)
    hook.trainer = types.SimpleNamespace(iter=5, max_iter=5, is_stopped=False, model=model)
    hook.after_train()
    assert torch.equal(encoder.blocks[-1].mlp.fc2.bias, before)
    saved = build_vit(**SIZES, checkpoint=str(tmp_path / "encoder.pth")).eval()
    tokens = saved.blocks(embed_images(saved, batches[0][0]["image"]))[:, 1:]
    assert tokens.mean(dim=(0, 1)).abs().max() < 1e-5
    assert tokens.abs().max() > 0.1
