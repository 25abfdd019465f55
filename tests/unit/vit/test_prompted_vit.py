import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import nn

from bpt_det.prompts import BilinearPrompt, FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from bpt_det.vit.embedding import embed_images
from bpt_det.vit.prompted_vit import insert_prompts
from tests.support.vits import TINY_SIZES, tiny_vit

# (H, W) in pixels; with patches of 4 and pre-training at 24 x 24, neither is the stored grid.
IMAGE_SIZES = [(32, 32), (20, 36)]
EMBED_DIM, NUM_BLOCKS = TINY_SIZES["embed_dim"], TINY_SIZES["num_blocks"]
PROMPT_LENGTH = 7


def images_of(size, batch_size=2):
    return torch.randn(batch_size, 3, *size, generator=seeded(1), dtype=torch.float64)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def prompted_vit(placement="shallow", prompt=None):
    prompt = prompt or BilinearPrompt(PROMPT_LENGTH, rank=3, embed_dim=EMBED_DIM)
    model = PromptedViT(tiny_vit(), prompt, placement).double()
    for index, module in model.prompts.items():
        module.reset_parameters(seeded(int(index)))
        for parameter in module.parameters():
            parameter.data *= 20  # as large as the tokens, so that a wrong prompt shows
    return model


def embed(vit, images):
    """Class token and patches with their positions, from timm's pieces."""
    grid = vit.patch_embed(images)
    batch_size, height, width, embed_dim = grid.shape
    positions = resample_abs_pos_embed(vit.pos_embed, (height, width), num_prefix_tokens=1)
    patches = grid.reshape(batch_size, height * width, embed_dim)
    class_token = vit.cls_token.expand(batch_size, 1, embed_dim)
    return torch.cat([class_token, patches], dim=1) + positions


def run_block(block, tokens):
    """One pre-norm transformer block; attention as softmax, head by head."""
    attention = block.attn
    q, k, v = attention.qkv(block.norm1(tokens)).chunk(3, dim=-1)
    heads = []
    for columns in torch.arange(tokens.shape[-1]).chunk(attention.num_heads):
        scores = q[..., columns] @ k[..., columns].transpose(1, 2) / len(columns) ** 0.5
        heads.append(scores.softmax(dim=-1) @ v[..., columns])
    tokens = tokens + attention.proj(torch.cat(heads, dim=-1))
    return tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(tokens))))


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_without_prompts_equals_timms_forward_features_before_the_norm(size):
    model = PromptedViT(tiny_vit())
    reference = copy.deepcopy(model.vit)
    reference.norm = nn.Identity()
    expected = reference.forward_features(images_of(size))
    torch.testing.assert_close(model.forward_tokens(images_of(size)), expected)
    torch.testing.assert_close(model(images_of(size)), expected[:, 1:])


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_shallow_prompts_equal_a_written_out_loop(size):
    model = prompted_vit("shallow")
    tokens = embed(model.vit, images_of(size))
    prompts = (model.prompts["0"].coeff @ model.prompts["0"].basis).expand(2, -1, -1)
    tokens = torch.cat([tokens[:, :1], prompts, tokens[:, 1:]], dim=1)
    for block in model.vit.blocks:
        tokens = run_block(block, tokens)
    torch.testing.assert_close(model.forward_tokens(images_of(size)), tokens)
    torch.testing.assert_close(model(images_of(size)), tokens[:, 1 + PROMPT_LENGTH :])


@pytest.mark.parametrize(
    ("placement", "blocks"),
    [("last_2", [3, 4]), ("1+2", [0, 3, 4]), ([1, 3], [1, 3]), ("interval", [0, 1, 2, 3])],
)
@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_listed_blocks_replace_the_prompts_and_others_carry_them(size, placement, blocks):
    model = prompted_vit(placement)
    assert NUM_BLOCKS == 5
    tokens = embed(model.vit, images_of(size))
    num_patches = tokens.shape[1] - 1
    for index, block in enumerate(model.vit.blocks):
        if index in blocks:
            own = model.prompts[str(index)]
            prompts = (own.coeff @ own.basis).expand(2, -1, -1)
            tokens = torch.cat([tokens[:, :1], prompts, tokens[:, -num_patches:]], dim=1)
        tokens = run_block(block, tokens)
    torch.testing.assert_close(model.forward_tokens(images_of(size)), tokens)
    torch.testing.assert_close(model(images_of(size)), tokens[:, -num_patches:])


@pytest.mark.parametrize("placement", ["shallow", "last_3"])
def test_free_prompts_go_the_same_way_as_bilinear_ones_of_equal_tokens(placement):
    bilinear = prompted_vit(placement)
    free = prompted_vit(placement, FreePrompt(PROMPT_LENGTH, EMBED_DIM, patch_size=4))
    for index, prompt in bilinear.prompts.items():
        free.prompts[index].tokens.data = prompt(1)[0].detach()
    images = images_of((20, 36))
    torch.testing.assert_close(free(images), bilinear(images))


def test_positions_are_resampled_as_timm_does_at_every_image_size():
    vit = tiny_vit()
    model = PromptedViT(copy.deepcopy(vit))
    model.vit.patch_embed.proj.weight.zero_()
    model.vit.patch_embed.proj.bias.zero_()
    for height, width in [(24, 24), *IMAGE_SIZES]:
        tokens = embed_images(model.vit, images_of((height, width), batch_size=1))
        new_size = (height // 4, width // 4)
        expected = resample_abs_pos_embed(vit.pos_embed, new_size, num_prefix_tokens=1)
        torch.testing.assert_close(tokens[:, 1:], expected[:, 1:])
        torch.testing.assert_close(tokens[:, :1], vit.cls_token + vit.pos_embed[:, :1])


@pytest.mark.parametrize("placement", ["shallow", "last_2"])
def test_prompts_and_class_token_never_reach_the_output(placement):
    """Overwritten after the last block, they leave the output as it is; a patch does not."""
    model = prompted_vit(placement)
    images = images_of((20, 36))
    expected = model(images)
    assert expected.shape == (2, 5 * 9, EMBED_DIM)

    def overwrite(tokens):
        handle = model.vit.blocks[-1].register_forward_hook(
            lambda _module, _inputs, output: output.index_fill(1, torch.tensor(tokens), 1e3)
        )
        output = model(images)
        handle.remove()
        return output

    assert torch.equal(overwrite(list(range(1 + PROMPT_LENGTH))), expected)
    assert not torch.equal(overwrite([1 + PROMPT_LENGTH]), expected)


def test_the_class_token_takes_part_inside():
    model = prompted_vit()
    before = model(images_of((20, 36)))
    model.vit.cls_token[..., 0] += 1
    assert not torch.allclose(model(images_of((20, 36))), before)


def test_patches_come_row_by_row():
    """A change in one corner of the image changes the embedding of that patch alone."""
    model = PromptedViT(tiny_vit(num_blocks=0))
    images = images_of((20, 36), batch_size=1)
    changed = images.clone()
    changed[:, :, 8:12, 4:8] += 1  # row 2, column 1 of a grid of 5 x 9
    differs = (model(images) != model(changed)).any(dim=2)[0]
    assert differs.nonzero().flatten().tolist() == [2 * 9 + 1]


def test_every_block_attends_globally_through_the_fused_attention(monkeypatch):
    lengths = []
    fused = F.scaled_dot_product_attention

    def spy(query, key, value, **kwargs):
        assert kwargs.get("attn_mask") is None
        lengths.append((query.shape[2], key.shape[2]))
        return fused(query, key, value, **kwargs)

    model = prompted_vit("last_2")
    assert all(block.attn.fused_attn for block in model.vit.blocks)
    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    model(images_of((20, 36)))
    num_tokens = 1 + 5 * 9
    prompted = num_tokens + PROMPT_LENGTH
    assert lengths == [(num_tokens,) * 2] * 3 + [(prompted,) * 2] * 2


def test_every_parameter_is_either_frozen_or_a_prompt():
    model = prompted_vit("last_2")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"prompts.{index}.{n}" for index in "34" for n in ("coeff", "basis")}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"vit.{name}" for name, _ in tiny_vit().named_parameters()}


def test_no_prompts_leave_nothing_to_train():
    model = PromptedViT(tiny_vit())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model(images_of((20, 36))).requires_grad


def test_the_vit_stays_in_evaluation_mode_whatever_its_parents_are_set_to():
    model = prompted_vit()
    nested = nn.Sequential(nn.Sequential(model), nn.Dropout())
    for parent in (model, nested):
        assert parent.train() is parent
        assert parent.training and model.training and model.prompts["0"].training
        assert not any(module.training for module in model.vit.modules())
        parent.eval()
        assert not any(module.training for module in parent.modules())


@pytest.mark.parametrize(("placement", "first"), [("shallow", 0), ("last_2", 3), ("last_1", 4)])
def test_blocks_before_the_first_prompted_one_leave_no_graph(placement, first):
    model = prompted_vit(placement).train()
    needs_graph = {}
    for index, block in enumerate(model.vit.blocks):
        block.register_forward_hook(
            lambda _module, _inputs, output, index=index: needs_graph.update(
                {index: output.requires_grad}
            )
        )
    model(images_of((20, 36)).requires_grad_())
    assert needs_graph == {index: index >= first for index in range(NUM_BLOCKS)}


@pytest.mark.parametrize("placement", ["shallow", "last_2"])
@pytest.mark.parametrize("kind", ["bilinear", "free"])
def test_gradients_of_prompts_match_finite_differences(placement, kind):
    prompt = {
        "bilinear": BilinearPrompt(prompt_length=2, rank=1, embed_dim=8),
        "free": FreePrompt(prompt_length=2, embed_dim=8, patch_size=4),
    }[kind]
    vit = tiny_vit(embed_dim=8, num_blocks=3, num_heads=2, pretrain_size=8)
    model = PromptedViT(vit, prompt, placement).double()
    images = images_of((8, 12))
    weights = torch.randn(2, 6, 8, generator=seeded(2), dtype=torch.float64)
    parameters = dict(model.prompts.named_parameters())

    def loss_of(*values):
        state = {f"prompts.{n}": v for n, v in zip(parameters, values, strict=True)}
        return (torch.func.functional_call(model, state, (images,)) * weights).sum()

    for parameter in parameters.values():
        parameter.data.normal_(generator=seeded(3))
    assert torch.autograd.gradcheck(loss_of, tuple(parameters.values()))


def test_a_step_changes_every_prompt_and_no_frozen_weight():
    model = prompted_vit("last_2").train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(images_of((20, 36))).square().sum().backward()
    optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("vit."), name
    assert all(parameter.grad is None for parameter in model.vit.parameters())


@pytest.mark.parametrize("kind", ["bilinear", "free"])
def test_each_prompted_block_has_initial_values_of_its_own(kind):
    torch.manual_seed(0)
    prompt = {
        "bilinear": BilinearPrompt(prompt_length=7, rank=3, embed_dim=EMBED_DIM),
        "free": FreePrompt(prompt_length=7, embed_dim=EMBED_DIM, patch_size=4),
    }[kind]
    model = PromptedViT(tiny_vit(), prompt, "last_3")
    assert list(model.prompts) == ["2", "3", "4"]
    assert model.prompts["2"] is prompt
    for name, _ in prompt.named_parameters():
        values = [module.get_parameter(name) for module in model.prompts.values()]
        assert not torch.equal(values[0], values[1])
        assert not torch.equal(values[1], values[2])
        assert not torch.equal(values[0], values[2])


def test_a_prompt_of_another_width_is_refused_with_both():
    with pytest.raises(InputError, match="prompt has embed_dim=8 but the ViT has embed_dim=12"):
        PromptedViT(tiny_vit(), BilinearPrompt(7, rank=3, embed_dim=8))


@pytest.mark.parametrize("prompt", ["none", nn.Linear(3, EMBED_DIM)])
def test_a_prompt_that_is_no_prompt_module_is_refused(prompt):
    with pytest.raises(InputError, match="^prompt must be a prompt module, or null for none, got "):
        PromptedViT(tiny_vit(), prompt)


def test_a_placement_that_fixes_the_basis_refuses_prompts_without_one():
    with pytest.raises(InputError, match="'released' .* a FreePrompt has none; .* 'all'") as caught:
        PromptedViT(tiny_vit(), FreePrompt(7, EMBED_DIM, patch_size=4), "released")
    assert caught.value.parameter == "placement"


@pytest.mark.parametrize("size", [(22, 36), (20, 35)])
def test_an_image_that_is_no_multiple_of_the_patch_is_refused(size):
    height, width = size
    text = f"image size {height}x{width} is not a multiple of patch_size=4"
    with pytest.raises(InputError, match=text):
        prompted_vit()(images_of(size))


@pytest.mark.parametrize(("placement", "first"), [("shallow", 0), ("last_2", 3), ([1, 4], 1)])
def test_prefix_tokens_are_those_that_enter_the_first_prompted_block(placement, first):
    model = prompted_vit(placement)
    tokens = embed(model.vit, images_of((20, 36)))
    for block in model.vit.blocks[:first]:
        tokens = run_block(block, tokens)
    prefix = model.prefix_tokens(images_of((20, 36)))
    torch.testing.assert_close(prefix, tokens)
    assert torch.equal(model.finish(prefix, (5, 9)), model.forward_tokens(images_of((20, 36))))


@pytest.mark.parametrize("placement", ["shallow", "last_2"])
def test_activation_checkpointing_gives_the_same_features_and_gradients(placement):
    images = images_of(IMAGE_SIZES[0])

    def features_and_gradients(is_checkpointed):
        model = prompted_vit(placement)
        model.activation_checkpointing = is_checkpointed
        features = model(images)
        features.square().mean().backward()
        return features.detach(), [p.grad for p in model.prompts.parameters()]

    plain, checkpointed = features_and_gradients(False), features_and_gradients(True)
    assert torch.equal(plain[0], checkpointed[0])
    assert all(gradient.abs().max() > 0 for gradient in checkpointed[1])
    for ours, theirs in zip(checkpointed[1], plain[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


def test_activation_checkpointing_keeps_one_tensor_of_each_block():
    kept = {}
    for is_checkpointed in (False, True):
        model = prompted_vit()
        model.activation_checkpointing = is_checkpointed
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor, lambda t: t
        ):
            model(images_of(IMAGE_SIZES[0]))
        kept[is_checkpointed] = sum(sizes)
    assert kept[True] < 0.2 * kept[False]


def test_activation_checkpointing_trains_a_whole_vit_too():
    gradients = []
    for is_checkpointed in (False, True):
        model = PromptedViT(tiny_vit(), frozen=False, activation_checkpointing=is_checkpointed)
        model.double()(images_of(IMAGE_SIZES[0])).square().mean().backward()
        gradients.append(model.vit.blocks[0].mlp.fc1.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("num_prefix_tokens", [0, 1, 2])
@pytest.mark.parametrize("num_replaced", [0, 3])
def test_prompts_take_the_place_of_old_ones_between_prefix_and_patches(
    num_prefix_tokens, num_replaced
):
    num_patches, prompt_length = 5, 4
    tokens = torch.randn(2, num_prefix_tokens + num_replaced + num_patches, 6)
    prompts = torch.randn(2, prompt_length, 6)
    inserted = insert_prompts(tokens, prompts, num_prefix_tokens, num_replaced)
    assert inserted.shape == (2, num_prefix_tokens + prompt_length + num_patches, 6)
    for image in range(2):
        for n in range(num_prefix_tokens):
            assert torch.equal(inserted[image, n], tokens[image, n])
        for n in range(prompt_length):
            assert torch.equal(inserted[image, num_prefix_tokens + n], prompts[image, n])
        for n in range(1, num_patches + 1):
            assert torch.equal(inserted[image, -n], tokens[image, -n])


def test_inserting_leaves_its_arguments_alone():
    tokens, prompts = torch.randn(2, 6, 3), torch.randn(2, 4, 3)
    copies = tokens.clone(), prompts.clone()
    insert_prompts(tokens, prompts, num_prefix_tokens=1, num_replaced=2).zero_()
    assert torch.equal(tokens, copies[0]) and torch.equal(prompts, copies[1])


def test_prompts_take_the_type_of_the_tokens():
    """Under autocast the tokens are of half precision, the parameters are not."""
    tokens = torch.randn(2, 6, 3, dtype=torch.bfloat16)
    assert insert_prompts(tokens, torch.randn(2, 4, 3), 1).dtype == torch.bfloat16
