"""Masked autoencoder: what is masked, what is compared, and what comes back where."""

import pytest
import torch
from torch import nn

from bpt_det.pretraining import MaskedAutoencoder
from bpt_det.pretraining.patches import draw_order, to_patches
from bpt_det.utils.errors import InputError
from bpt_det.vit import build_vit
from tests.support.families import small_network

SIZES = {"embed_dim": 16, "num_blocks": 2, "num_heads": 2, "patch_size": 4, "pretrain_size": 16}
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 55.0, 50.0]


def build(**settings):
    defaults = {"decoder_embed_dim": 12, "decoder_num_blocks": 1, "decoder_num_heads": 3}
    return MaskedAutoencoder(
        build_vit(**SIZES), **{**defaults, "pixel_mean": MEAN, "pixel_std": STD, **settings}
    )


def samples(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.uint8}
    return [
        {"image": torch.randint(0, 256, (3, 16, 16), **draw), "image_id": f"{seed}/{i}"}
        for i in range(count)
    ]


def normalized(batch, dtype=torch.float32):
    images = torch.stack([sample["image"] for sample in batch]).to(dtype)
    shape = (1, 3, 1, 1)
    return (images - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)


def test_with_masking_off_the_encoder_is_timms():
    model = build()
    images = normalized(samples(2))
    torch.testing.assert_close(model.encode(images), model.encoder.forward_features(images))


def test_the_encoder_sees_the_kept_patches_with_the_positions_they_have_in_the_image():
    """Blocks treat tokens alike, so a subset is encoded as the tokens of that subset alone."""
    model = build().eval()
    images = normalized(samples(2))
    kept = torch.tensor([[5, 0, 9], [2, 15, 7]])
    tokens = model.encoder._pos_embed(model.encoder.patch_embed(images))
    for i in range(2):
        chosen = tokens[i : i + 1, [0, *(1 + kept[i]).tolist()]]
        for block in model.encoder.blocks:
            chosen = block(chosen)
        expected = model.encoder.norm(chosen)
        torch.testing.assert_close(model.encode(images, kept)[i : i + 1], expected)


@pytest.mark.parametrize("normalize_targets", [True, False])
def test_the_loss_is_the_squared_error_of_the_masked_patches_alone(normalize_targets):
    model = build(normalize_targets=normalize_targets).double()
    batch = samples(3)
    torch.manual_seed(5)
    loss = model(batch)["loss_mae"]
    torch.manual_seed(5)
    images = normalized(batch, torch.float64)
    predicted, mask = model.reconstruct(images, torch.rand(3, 16))
    assert mask.sum(dim=1).tolist() == [12, 12, 12]
    patches = to_patches(images, 4)
    total = 0.0
    for i, j in mask.nonzero().tolist():
        target = patches[i, j]
        if normalize_targets:
            mean = target.sum() / 48
            target = (target - mean) / (((target - mean) ** 2).sum() / 47 + 1e-6).sqrt()
        total += ((predicted[i, j] - target) ** 2).sum() / 48
    torch.testing.assert_close(loss, (total / 36).float(), check_dtype=False)


def test_what_is_predicted_for_a_patch_that_was_shown_has_no_gradient():
    model = build().train()
    predicted = []
    model.decoder_pred.register_forward_hook(
        lambda *args: (args[2].retain_grad(), predicted.append(args[2]))[0]
    )
    torch.manual_seed(3)
    model(samples(2))["loss_mae"].backward()
    torch.manual_seed(3)
    _, restore = draw_order(torch.rand(2, 16))
    has_gradient = predicted[0].grad.abs().sum(dim=-1) > 0
    assert torch.equal(has_gradient, restore >= 4)


def test_decoded_tokens_lie_where_their_patches_are_in_the_image():
    """Without blocks the decoder's tokens are the embedded ones, or the mask token, in place."""
    model = build(decoder_num_blocks=0)
    model.decoder_norm = model.decoder_pred = nn.Identity()
    model.decoder_positions.zero_()
    images = normalized(samples(2))
    scores = torch.rand(2, 16)
    decoded, mask = model.reconstruct(images, scores)
    order, _ = draw_order(scores)
    encoded = model.decoder_embed(model.encode(images, order[:, :4]))
    for i in range(2):
        for j in range(16):
            if mask[i, j]:
                expected = model.mask_token[0, 0]
            else:
                expected = encoded[i, 1 + order[i, :4].tolist().index(j)]
            torch.testing.assert_close(decoded[i, j], expected)


def test_the_decoder_knows_where_a_patch_is():
    model = build(decoder_num_blocks=0)
    model.decoder_norm = model.decoder_pred = nn.Identity()
    decoded, mask = model.reconstruct(normalized(samples(1)), torch.rand(1, 16))
    expected = model.mask_token[0, 0] + model.decoder_positions[0]
    torch.testing.assert_close(decoded[mask], expected[mask[0]])
    assert len({tuple(row.tolist()) for row in model.decoder_positions[0]}) == 16


def test_positions_stay_as_they_are_and_everything_else_is_trained():
    model = build().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(samples(4))["loss_mae"].backward()
        optimizer.step()
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert same == {"encoder.pos_embed"}


def test_training_draws_another_mask_each_time_and_evaluation_one_per_image():
    model = build()
    batch = samples(3)
    assert model(batch)["loss_mae"] != model(batch)["loss_mae"]
    model.eval()
    with torch.no_grad():
        together, alone = model(batch), model(batch[2:])
    assert torch.equal(together[2]["mask"], alone[0]["mask"])
    assert not torch.equal(together[0]["mask"], together[1]["mask"])
    torch.testing.assert_close(together[2]["loss"], alone[0]["loss"])


def test_evaluation_gives_the_mean_loss_of_an_image_and_fills_in_masked_patches_only():
    model = build().eval()
    batch = samples(2)
    with torch.no_grad():
        outputs = model(batch)
        scores = model.draw_scores(batch)
        predicted, mask = model.reconstruct(normalized(batch), scores)
    for i, output in enumerate(outputs):
        original = to_patches(batch[i]["image"][None].float(), 4)[0]
        filled = to_patches(output["reconstruction"][None], 4)[0]
        shown = ~output["mask"]
        assert shown.sum() == 4
        torch.testing.assert_close(filled[shown], original[shown], atol=1e-3, rtol=0)
        assert (filled[~shown] - original[~shown]).abs().mean() > 5
        assert filled.min() >= 0 and filled.max() <= 255
        targets = model.make_targets(to_patches(normalized(batch), 4))
        error = ((predicted - targets) ** 2).mean(-1)[i][mask[i]].mean()
        torch.testing.assert_close(output["loss"], error)


@pytest.mark.parametrize("normalize_targets", [True, False])
def test_a_perfect_prediction_is_drawn_as_the_original(normalize_targets):
    model = build(normalize_targets=normalize_targets).eval()
    patches = to_patches(normalized(samples(2)), 4)
    pictures = model.make_pictures(
        patches, model.make_targets(patches), torch.ones(2, 16, dtype=bool)
    )
    for picture, sample in zip(pictures, samples(2), strict=True):
        torch.testing.assert_close(picture, sample["image"].float(), atol=1e-2, rtol=0)


@pytest.mark.parametrize("mask_ratio", [0, 1, 0.99, -0.5, "most"])
def test_a_ratio_that_masks_nothing_or_all_is_refused(mask_ratio):
    text = r"mask_ratio must be in \(0, 1\) and leave some of the 16 patches to be shown, got "
    with pytest.raises(InputError, match=text):
        build(mask_ratio=mask_ratio)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"decoder_num_heads": 5}, "decoder_embed_dim=12 is not a multiple of .*num_heads=5"),
        ({"decoder_embed_dim": 6}, r"decoder_embed_dim=6 is not a multiple of 4; choose another\."),
        ({"input_format": "BGR"}, "input_format must be RGB for pre-training, got BGR"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, text):
    with pytest.raises(InputError, match=text):
        build(**settings)


def test_images_of_another_size_are_refused_with_the_next_step():
    batch = [{"image": torch.zeros(3, 16, 24, dtype=torch.uint8)}]
    with pytest.raises(InputError, match="images of 16x24 pixels are not of the encoder's size 16"):
        build()(batch)


def test_the_checkpoint_settings_are_those_that_no_shape_tells():
    assert build(mask_ratio=0.5).checkpoint_settings == {
        "mask_ratio": 0.5,
        "normalize_targets": True,
    }


def test_an_encoder_with_rotary_positions_is_refused():
    settings = dict(pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3)
    with pytest.raises(InputError, match="leaves patches out, which Eva with rotary positions can"):
        MaskedAutoencoder(small_network("dinov3"), **settings)
