"""Every family of networks with prompts: against timm's own forward and a written-out loop."""

import copy

import pytest
import torch
from torch import nn

from bpt_det.prompts import BilinearPrompt, FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import ColumnarViT, PromptedViT, adapt, fingerprint
from bpt_det.vit.tuning import LoRA
from tests.support.families import EVA, FAMILIES, ToyNetwork, small_network

IMAGE_SIZES = [(32, 32), (20, 36)]  # patches of 4; neither is the grid of the pre-training
PROMPT_LENGTH = 7
ROTARY = [name for name in EVA if "use_rot_pos_emb" in EVA[name]]


def images_of(size, batch_size=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch_size, 3, *size, generator=generator, dtype=torch.float64)


def prompted(vit, placement="1+2", **settings):
    prompt = FreePrompt(PROMPT_LENGTH, adapt(vit).embed_dim, patch_size=4)
    model = PromptedViT(vit, prompt, placement, **settings).double()
    generator = torch.Generator().manual_seed(2)
    for module in model.prompts.values():
        module.tokens.data.normal_(generator=generator)  # as large as tokens: a wrong one shows
    return model


def timms_forward(vit, images):
    """Tokens after the last block, before the final norm, by timm itself."""
    vit = copy.deepcopy(vit)
    vit.norm = nn.Identity()
    return vit.forward_features(images)


def rotate(values, rope, is_half):
    """Rotate pairs of entries of (B, h, N, d): neighbors, or entries of both halves."""
    sine, cosine = rope.chunk(2, dim=-1)
    rotated = torch.empty_like(values)
    size = values.shape[-1]
    for i in range(size):
        first = i < size // 2 if is_half else i % 2 == 0
        j = (i + size // 2) % size if is_half else i ^ 1
        sign = -1 if first else 1
        rotated[..., i] = values[..., i] * cosine[..., i] + sign * values[..., j] * sine[..., i]
    return rotated


def attend(attention, tokens, rope, num_unrotated):
    """Attention with rotary positions, from the module's weights; softmax head by head."""
    if attention.qkv is not None:
        q, k, v = (tokens @ attention.qkv.weight.T).chunk(3, dim=-1)
        if getattr(attention, "q_bias", None) is not None:
            q, v = q + attention.q_bias, v + attention.v_bias
        elif attention.qkv.bias is not None:
            biases = attention.qkv.bias.chunk(3)
            q, k, v = (x + bias for x, bias in zip((q, k, v), biases, strict=True))
    else:
        q, k, v = attention.q_proj(tokens), attention.k_proj(tokens), attention.v_proj(tokens)
    size = attention.head_dim
    q, k, v = (x.unflatten(2, (-1, size)).transpose(1, 2) for x in (q, k, v))  # (B, h, N, d)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if rope is not None:
        turned = [rotate(x[:, :, num_unrotated:], rope, attention.rotate_half) for x in (q, k)]
        q, k = (
            torch.cat([x[:, :, :num_unrotated], y], dim=2)
            for x, y in zip((q, k), turned, strict=True)
        )
    shared = q.shape[1] // k.shape[1]  # heads to a key
    heads = []
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head // shared].transpose(1, 2) / size**0.5
        heads.append(scores.softmax(dim=-1) @ v[:, head // shared])
    return attention.proj(attention.norm(torch.cat(heads, dim=-1)))


def run_block(block, tokens, rope, num_unrotated):
    """A block of `Eva`, before or after whose branches the norms are."""
    if not hasattr(block, "gamma_1"):
        tokens = tokens + block.norm1(attend(block.attn, tokens, rope, num_unrotated))
        return tokens + block.norm2(block.mlp(tokens))
    first, second = (1 if x is None else x for x in (block.gamma_1, block.gamma_2))
    tokens = tokens + first * attend(block.attn, block.norm1(tokens), rope, num_unrotated)
    return tokens + second * block.mlp(block.norm2(tokens))


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_without_prompts_equals_timms_forward_features_before_the_norm(family, size):
    vit = small_network(family)
    expected = timms_forward(vit, images_of(size))
    model = PromptedViT(vit)
    torch.testing.assert_close(model.forward_tokens(images_of(size)), expected)
    torch.testing.assert_close(model(images_of(size)), expected[:, vit.num_prefix_tokens :])


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("family", EVA)
def test_with_prompts_equals_a_written_out_loop_in_which_only_patches_are_rotated(family, size):
    vit = small_network(family)
    model = prompted(vit)
    grid = [side // 4 for side in size]
    tokens, _ = vit._pos_embed(vit.patch_embed(images_of(size)))
    tokens = vit.norm_pre(tokens)
    rope = None if vit.rope is None else vit.rope.get_embed(shape=grid)
    num_prefix, num_patches = vit.num_prefix_tokens, grid[0] * grid[1]
    for index, block in enumerate(vit.blocks):
        if str(index) in model.prompts:
            own = model.prompts[str(index)].tokens.expand(2, -1, -1)
            tokens = torch.cat([tokens[:, :num_prefix], own, tokens[:, -num_patches:]], dim=1)
        of_block = rope[index] if vit.rope_mixed else rope
        tokens = run_block(block, tokens, of_block, num_prefix + PROMPT_LENGTH)
    torch.testing.assert_close(model.forward_tokens(images_of(size)), tokens)
    torch.testing.assert_close(model(images_of(size)), tokens[:, -num_patches:])


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_prompts_equal_finite_differences(family):
    model = prompted(small_network(family), "last_2")
    images = images_of((20, 36))
    weights = images_of((20, 36)).flatten()[: 45 * 24].view(45, 24)  # so that no two tokens cancel
    (model(images) * weights).sum().backward()
    for index in ("3", "4"):
        tokens = model.prompts[index].tokens
        assert tokens.grad.abs().min() > 0
        for row, column in [(0, 0), (4, 11), (6, 23)]:
            values = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    tokens[row, column] += step
                    values.append((model(images) * weights).sum())
                    tokens[row, column] -= step
            slope = (values[0] - values[1]) / 2e-5
            torch.testing.assert_close(tokens.grad[row, column], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_tokens_of_a_grid_can_be_finished_later(family):
    model, images = prompted(small_network(family), "last_2"), images_of((20, 36))
    prefix = model.prefix_tokens(images)
    assert not prefix.requires_grad
    assert torch.equal(model.finish(prefix, (5, 9)), model.forward_tokens(images))


def test_prefix_tokens_without_a_grid_are_of_square_images():
    model, images = prompted(small_network("dinov3"), "last_2"), images_of((32, 32))
    prefix = model.prefix_tokens(images)
    assert torch.equal(model.finish(prefix), model.forward_tokens(images))
    with pytest.raises(InputError, match="45 patches are no grid of 6x6; give theirs."):
        model.finish(model.prefix_tokens(images_of((20, 36))))


@pytest.mark.parametrize("settings", [{}, {"tuning": LoRA(2)}, {"activation_checkpointing": True}])
@pytest.mark.parametrize("family", ROTARY)
def test_rotary_positions_are_computed_once_a_pass_and_embedding_is_timms(
    family, settings, monkeypatch
):
    vit, images = small_network(family), images_of((20, 36))
    model = prompted(vit, **copy.deepcopy(settings)).train()
    embedded, rope = vit._pos_embed(vit.patch_embed(images))
    network = adapt(vit)
    assert torch.equal(network.embed(images), vit.norm_pre(embedded))
    assert torch.equal(network.positions((5, 9))._embed, rope)
    expected = model.finish(model.prefix_tokens(images), (5, 9))
    shapes = []
    get_embed = type(vit.rope).get_embed

    def count(rope, shape=None, **options):
        shapes.append(tuple(shape))
        return get_embed(rope, shape, **options)

    monkeypatch.setattr(type(vit.rope), "get_embed", count)
    tokens = model.forward_tokens(images)
    tokens.sum().backward()
    assert shapes == [(5, 9)] and torch.equal(tokens, expected)
    model.forward_layers(images, [0, 3])
    assert shapes == [(5, 9)] * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_activation_checkpointing_changes_no_gradient(family):
    gradients = []
    for is_checkpointed in (False, True):
        model = prompted(small_network(family), activation_checkpointing=is_checkpointed)
        model(images_of((20, 36))).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.prompts.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_network_is_as_it_was_after_training_failing_and_checkpointing(family):
    vit = small_network(family)
    before, settings = fingerprint(vit), attention_settings(vit)
    model = prompted(vit, activation_checkpointing=True)
    model(images_of((20, 36))).sum().backward()
    with pytest.raises(InputError, match="20x30"):
        model(images_of((20, 30)))
    assert fingerprint(vit) == before and attention_settings(vit) == settings
    assert all(parameter.grad is None for parameter in vit.parameters())


def attention_settings(vit):
    return [getattr(block.attn, "num_prefix_tokens", None) for block in vit.blocks]


@pytest.mark.parametrize("family", ROTARY)
def test_two_models_around_one_network_do_not_disturb_each_other(family):
    """Their prompts are of different lengths, and one runs while the other waits for its turn."""
    vit, images = small_network(family), images_of((20, 36))
    first = prompted(vit, "last_2")
    second = PromptedViT(vit, BilinearPrompt(3, rank=2, embed_dim=24), "shallow").double()
    expected = first(images), second(images), timms_forward(vit, images)
    prefix = first.prefix_tokens(images)
    torch.testing.assert_close(second(images), expected[1])
    later = first.finish(prefix, (5, 9))[:, vit.num_prefix_tokens + PROMPT_LENGTH :]
    torch.testing.assert_close(later, expected[0])
    torch.testing.assert_close(timms_forward(vit, images), expected[2])
    torch.testing.assert_close(copy.deepcopy(first)(images), expected[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_that_is_trained_gets_a_gradient_from_full_fine_tuning(family):
    vit = small_network(family)
    model = prompted(vit, frozen=False)
    model(images_of((20, 36))).square().sum().backward()
    lacking = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    # The replaced prompts of the blocks before have reached the patches; norms are not applied.
    assert lacking == set()
    depths = model.parameter_depths()
    assert {depths[p] for p in vit.blocks[3].parameters()} == {4}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fingerprint_repeats_and_changes_with_any_weight(family):
    before = fingerprint(small_network(family))
    assert fingerprint(small_network(family)) == before
    for name in ("blocks.0.mlp.fc2.bias", "patch_embed.proj.weight"):
        vit = small_network(family)
        vit.get_parameter(name).view(-1)[0] += 1
        assert fingerprint(vit) != before


@pytest.mark.parametrize(
    "change",
    [
        {"rope_temperature": 50.0},
        {"rope_rotate_half": True},
        {"rope_grid_offset": 0.5},
        {"rope_grid_indexing": "ij"},
        {"ref_feat_shape": (5, 5)},
        {"rope_type": "dinov3"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_tells_networks_of_equal_weights_and_other_positions_apart(change):
    vit, other = small_network("rope"), small_network("rope", **change)
    other.load_state_dict(vit.state_dict())
    assert not torch.equal(
        timms_forward(vit, images_of((20, 36))), timms_forward(other, images_of((20, 36)))
    )
    assert fingerprint(vit) != fingerprint(other)


def test_a_toy_network_from_outside_can_be_prompted():
    network = ToyNetwork().double()
    assert isinstance(network, ColumnarViT) and adapt(network) is network
    model, images = prompted(network, "last_2", activation_checkpointing=True), images_of((15, 20))
    tokens = network.embed(images)
    for index in range(4):
        if index >= 2:
            own = model.prompts[str(index)].tokens.expand(2, -1, -1)
            tokens = torch.cat([tokens[:, :2], own, tokens[:, -12:]], dim=1)
        num_prompts = PROMPT_LENGTH if index >= 2 else 0
        tokens = network.run_block(index, tokens, network.positions((3, 4)), num_prompts)
    torch.testing.assert_close(model(images), tokens[:, -12:])
    model(images).sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"prompts.2.tokens", "prompts.3.tokens"}
    assert model.grid_size(15, 20) == (3, 4) and model.parameter_depths()[network.prefix] == 0


def test_a_network_that_cannot_be_prompted_is_told_what_it_lacks():
    with pytest.raises(InputError) as caught:
        PromptedViT(nn.Linear(2, 2))
    assert str(caught.value) == (
        "a Linear cannot be prompted: it is no VisionTransformer or Eva of timm's, and lacks "
        "embed_dim, patch_size, num_prefix_tokens, blocks, norm, embed, positions, run_block of "
        "bpt_det.vit.ColumnarViT."
    )


def test_a_network_for_one_image_size_is_refused():
    vit = small_network("dinov3")
    vit.dynamic_img_size = False
    with pytest.raises(InputError, match="this Eva takes images of one size; build it"):
        PromptedViT(vit)


def test_an_image_smaller_than_a_patch_has_no_grid():
    model = PromptedViT(small_network("dinov3"))
    with pytest.raises(InputError, match="image size 0x8 is not a multiple of patch_size=4"):
        model(images_of((0, 8)))
