"""Several layers of a ViT and neck blocks before the pyramid; without them nothing changes."""

import copy
import hashlib

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import instantiate
from torch import nn

from bpt_det.config import load_config
from bpt_det.config.tree import find_vit_owner
from bpt_det.detection import PromptedViTBackbone, SimpleFeaturePyramid
from bpt_det.prompts import BilinearPrompt, FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, PromptedViT, build_vit
from bpt_det.vit.tuning import SSF, AdaptFormer, BitFit, LoRA, PromptGate, TrainedBlocks
from tests.support.families import FAMILIES, ToyNetwork, small_network
from tests.support.vits import TINY_SIZES, count_parameters, tiny_vit

D, NUM_BLOCKS, PATCH = (TINY_SIZES[name] for name in ("embed_dim", "num_blocks", "patch_size"))
SIZE = (20, 36)
GRID = (SIZE[0] // PATCH, SIZE[1] // PATCH)
IMAGES = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def backbone(placement="last_2", **kwargs):
    """A backbone in float64 whose neck is far from its initial values."""
    torch.manual_seed(0)
    prompt = BilinearPrompt(prompt_length=7, rank=3, embed_dim=D)
    model = PromptedViTBackbone(tiny_vit(), prompt, placement, **kwargs).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.neck.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def layer_tokens(model, layers):
    """The patch tokens after each layer, by a loop over the blocks."""
    vit, prompts = model.prompted_vit.vit, model.prompted_vit.prompts
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    num_patches = tokens.shape[1] - 1
    kept = []
    for index, block in enumerate(vit.blocks):
        if str(index) in prompts:
            tokens = torch.cat([tokens[:, :1], prompts[str(index)](2), tokens[:, -num_patches:]], 1)
        tokens = block(tokens)
        if index in layers:
            kept.append(tokens[:, -num_patches:])
    return kept


def normed(model, layers):
    norms = model.neck.join.norms
    return [
        F.layer_norm(tokens, (D,), norm.weight, norm.bias, 1e-6)
        for tokens, norm in zip(layer_tokens(model, layers), norms, strict=True)
    ]


def as_map(tokens):
    return tokens.transpose(1, 2).reshape(2, D, *GRID)


@pytest.mark.parametrize("placement", ["shallow", "last_2", [1, 3]])
@pytest.mark.parametrize("layers", [[1, 4], [0, 1, 2, 4]])
def test_layers_are_concatenated_and_projected(placement, layers):
    model = backbone(placement, layers=layers)
    weight, bias = model.neck.join.proj.weight, model.neck.join.proj.bias
    joined = torch.cat([as_map(tokens) for tokens in normed(model, layers)], dim=1)
    expected = F.conv2d(joined, weight[:, :, None, None], bias)
    torch.testing.assert_close(model(IMAGES), {"last_feat": expected})


def test_layers_are_averaged_by_learned_weights():
    model = backbone(layers=[0, 2, 4], join="weights")
    share = model.neck.join.logits.exp() / model.neck.join.logits.exp().sum()
    assert (share - 1 / 3).abs().min() > 0.01
    parts = normed(model, [0, 2, 4])
    expected = as_map(sum(share[i] * parts[i] for i in range(3)))
    torch.testing.assert_close(model(IMAGES), {"last_feat": expected})


def test_every_level_of_the_pyramid_can_have_a_layer_of_its_own():
    layers, scales = [0, 1, 3, 4], [4.0, 2.0, 1.0, 0.5]
    net = backbone(layers=layers, join="levels")
    maps = net(IMAGES)
    expected = {
        f"last_feat.{i}": as_map(x) for i, x in zip(layers, normed(net, layers), strict=True)
    }
    torch.testing.assert_close(maps, expected)
    pyramid = SimpleFeaturePyramid(net, "last_feat", 5, scales).double()
    outputs = pyramid(F.pad(IMAGES, (0, 4, 0, 4)))
    bottom_up = net(F.pad(IMAGES, (0, 4, 0, 4)))
    for level, name in enumerate(expected):
        stage = getattr(pyramid, pyramid._stage_names[level])
        torch.testing.assert_close(outputs[f"p{level}"], stage(bottom_up[name]))
    assert {shape.stride for shape in net.output_shape().values()} == {PATCH}


def test_quarters_are_the_last_blocks_of_four_parts():
    vit = build_vit(embed_dim=12, num_blocks=12, num_heads=3, patch_size=4, pretrain_size=24)
    assert PromptedViTBackbone(vit, layers="quarters").layers == [2, 5, 8, 11]
    assert backbone(layers="quarters").layers == [0, 1, 2, 4]


@pytest.mark.parametrize("layers", [[0, 2, 4], [2, 4]])
def test_blocks_before_the_first_prompted_one_leave_no_graph(layers):
    model = backbone("last_2", layers=layers).prompted_vit
    tokens = dict(zip(layers, model.forward_layers(IMAGES, layers), strict=True))
    assert {index for index in layers if not tokens[index].requires_grad} == set(layers) - {3, 4}


def test_blocks_behind_the_last_layer_do_not_run():
    model = backbone("shallow", layers=[0, 2]).prompted_vit
    ran = []
    for index, block in enumerate(model.vit.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    model.forward_layers(IMAGES, [0, 2])
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("join", ["concat", "weights", "levels"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_everything_in_the_neck_has_a_gradient(join, checkpointing):
    options = {"layers": [1, 4], "join": join, "activation_checkpointing": checkpointing}
    if join != "levels":
        options["neck_blocks"] = 1
    model = backbone(tuning=LoRA(2), **options).train()
    sum(x.square().mean() for x in model(IMAGES).values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (".vit." not in name), name


@pytest.mark.parametrize("window", [0, 3])
def test_neck_blocks_are_transformer_blocks_on_the_map(window):
    """Global ones written out; windowed ones as ViTDet's, which have tests of their own."""
    model = backbone(neck_blocks=2, neck_window=window)
    tokens = model.prompted_vit(IMAGES)
    tokens = tokens.unflatten(1, GRID) if window else tokens
    for block in model.neck.blocks:
        if window:
            tokens = block(tokens)
            continue
        flat, attention = block.norm1(tokens), block.attn
        q, k, v = attention.qkv(flat).chunk(3, dim=-1)
        heads = []
        for columns in torch.arange(D).chunk(TINY_SIZES["num_heads"]):
            scores = q[..., columns] @ k[..., columns].transpose(1, 2) / len(columns) ** 0.5
            heads.append(scores.softmax(dim=-1) @ v[..., columns])
        tokens = tokens + attention.proj(torch.cat(heads, dim=-1))
        hidden = F.gelu(block.mlp.fc1(block.norm2(tokens)))
        tokens = tokens + block.mlp.fc2(hidden)
    torch.testing.assert_close(model(IMAGES), {"last_feat": as_map(tokens.reshape(2, -1, D))})
    has_positions = any("rel_pos" in name for name in model.neck.state_dict())
    assert has_positions == bool(window)


def vit_b_backbone(**kwargs):
    with torch.device("meta"):
        return PromptedViTBackbone(build_vit(**ARCHITECTURES["vit_b"]), **kwargs)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0),
        ({"layers": [2, 5, 8, 11]}, 8 * 768 + 4 * 768**2 + 768),
        ({"layers": "quarters", "join": "weights"}, 8 * 768 + 4),
        ({"layers": "quarters", "join": "levels"}, 8 * 768),
        ({"layers": [11]}, 2 * 768 + 768**2 + 768),
        ({"neck_blocks": 1}, 12 * 768**2 + 13 * 768),
        ({"neck_blocks": 2, "neck_window": 14}, 2 * (12 * 768**2 + 13 * 768 + 2 * 27 * 64)),
    ],
)
def test_counts_of_trained_parameters_for_vit_b(options, expected):
    model = vit_b_backbone(**options)
    assert count_parameters(model.neck) == expected
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"layers": [2, 5]},
            r"ascending block indexes in \[0, 4\], as the ViT has 5 blocks, got",
        ),
        ({"layers": [-1, 4]}, r"ascending block indexes in \[0, 4\], .* got \[-1, 4\]"),
        ({"layers": [3, 1]}, r"ascending block indexes in \[0, 4\], .* got \[3, 1\]"),
        ({"layers": [1, 1]}, r"ascending block indexes in \[0, 4\], .* got \[1, 1\]"),
        ({"layers": []}, r"ascending block indexes in \[0, 4\], .* got \[\]"),
        ({"layers": [1.0, 4]}, r"ascending block indexes in \[0, 4\], .* got \[1\.0, 4\]"),
        (
            {"layers": "halves"},
            r"layers 'halves' is unknown for 5 blocks; write block indexes such",
        ),
        ({"layers": [4], "join": "sum"}, r"join must be one of concat, weights, levels, got 'sum'"),
        ({"join": "mean"}, r"join must be one of concat, weights, levels, got 'mean'"),
        ({"neck_blocks": -1}, r"neck_blocks must be an integer >= 0, got -1"),
        ({"neck_blocks": 1, "neck_window": "a"}, r"neck_window must be an integer >= 0, got 'a'"),
        (
            {"layers": [1, 4], "join": "levels", "neck_blocks": 2},
            r"neck_blocks=2 run on one map, but join=levels gives 2; set join=concat",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_one_line(options, problem):
    with pytest.raises(InputError, match=problem) as caught:
        backbone(**options)
    assert "\n" not in str(caught.value) and caught.value.parameter


@pytest.mark.parametrize(
    ("trained", "layers", "first_effective", "problem"),
    [
        ({"placement": "last_2"}, [0, 3], 4, r"prompts in block 4 \(placement\)"),
        ({"placement": [0, 2, 4]}, [1], 4, r"prompts in block 2, 4 \(placement\)"),
        ({"tuning": LoRA(2)}, [0, 2], 4, r"LoRA in block 3, 4 \(tuning.placement\)"),
        ({"tuning": AdaptFormer(2)}, [2, 3], 4, r"AdaptFormer in block 4 \(tuning.placement\)"),
        ({"tuning": SSF([1, 3])}, [2], 3, r"SSF in block 3 \(tuning.placement\)"),
        ({"tuning": BitFit("last_1")}, [3], 4, r"BitFit in block 4 \(tuning.placement\)"),
        ({"tuning": TrainedBlocks([2])}, [1], 2, r"TrainedBlocks in block 2 \(tuning.placement\)"),
        ({"tuning": PromptGate()}, [1, 3], 4, r"PromptGate in block 3 \(tuning.placement\)"),
        ({"tuning": PromptGate(placement=[0, 2])}, [2], 3, r"PromptGate in block 2 \(tuning.pl"),
        ({"frozen": False, "prompt": None}, [0, 3], 4, r"training in block 4 \(frozen=False\)"),
    ],
    ids=lambda value: "".join(map(str, value)) if isinstance(value, list) else None,
)
def test_what_is_trained_behind_the_last_layer_is_refused_and_before_it_learns(
    trained, layers, first_effective, problem
):
    def build(layers):
        options = {"prompt": FreePrompt(3, D, patch_size=4), **copy.deepcopy(trained)}
        return PromptedViTBackbone(tiny_vit(), layers=layers, **options).double()

    expected = (
        rf"^layers end with block {layers[-1]}, so {problem}.*; add 4 to layers, or train only e"
    )
    with pytest.raises(InputError, match=expected) as caught:
        build(layers)
    assert "\n" not in str(caught.value) and caught.value.parameter == "layers"
    model = build([first_effective])
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in learned.values():
            parameter += 0.1  # off the zeros, behind which nothing has a gradient
    model(IMAGES)["last_feat"].square().sum().backward()
    assert not [name for name, p in learned.items() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_and_neck_blocks_work_with_every_family(family):
    vit = small_network(family)
    images = torch.randn(1, 3, 16, 24, dtype=torch.float64)
    for options in (
        {"layers": [0, 2, 4], "neck_blocks": 1},
        {"layers": "quarters", "join": "levels"},
        {"layers": [1, 4], "join": "weights", "neck_blocks": 1, "neck_window": 3},
    ):
        prompt = FreePrompt(3, vit.embed_dim, patch_size=4)
        model = PromptedViTBackbone(vit, prompt, "last_2", **options).double()
        maps = model(images)
        assert {m.shape for m in maps.values()} == {(1, vit.embed_dim, 4, 6)}
        sum(m.sum() for m in maps.values()).backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    vit.norm = nn.Identity()
    expected = vit.forward_intermediates(images, indices=[0, 4], intermediates_only=True)
    layers = PromptedViT(vit).forward_layers(images, [0, 4])
    for tokens, reference in zip(layers, expected, strict=True):
        torch.testing.assert_close(tokens.transpose(1, 2), reference.flatten(2))


def test_neck_blocks_of_a_network_without_heads_are_refused():
    with pytest.raises(InputError, match=r"its blocks \(Linear\) have no attn.num_heads; set neck"):
        PromptedViTBackbone(ToyNetwork(), layers=[1, 3], neck_blocks=1)


def test_another_number_of_layers_than_levels_is_refused():
    net = backbone(layers=[1, 4], join="levels")
    with pytest.raises(
        InputError, match="each of the 3 levels of the pyramid needs a layer of its"
    ):
        SimpleFeaturePyramid(net, "last_feat", 5, [2.0, 1.0, 0.5])


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("coco/cascade_bpt_s", "549e1bfd10376c8d"),
        ("coco/cascade_bpt_d", "0e0a30c82e6271f2"),
        ("coco/cascade_frozen", "a1b5cc5e40012ca5"),
    ],
)
def test_by_default_the_detector_has_the_weights_that_it_had_before(base, expected):
    """Names and shapes, as a digest that was taken before there were layers, necks and tuning."""
    cfg = load_config(base)
    find_vit_owner(cfg)[1].vit.checkpoint = None
    with torch.device("meta"):
        state = instantiate(cfg.model).state_dict()
    text = "".join(f"{name} {tuple(value.shape)}\n" for name, value in state.items())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == expected


def test_by_default_the_map_is_bit_equal_to_the_last_tokens_and_draws_no_random_number():
    torch.manual_seed(7)
    prompt = BilinearPrompt(prompt_length=7, rank=3, embed_dim=D)
    expected = PromptedViT(tiny_vit(torch.float32), prompt)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    prompt = BilinearPrompt(prompt_length=7, rank=3, embed_dim=D)
    model = PromptedViTBackbone(tiny_vit(torch.float32), prompt)
    assert torch.equal(drawn, torch.rand(1))
    images = IMAGES.float()
    assert torch.equal(model(images)["last_feat"], as_map(expected(images)))
    assert not list(model.neck.parameters()) and isinstance(model.neck, nn.Module)
