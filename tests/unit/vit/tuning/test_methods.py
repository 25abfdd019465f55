"""Every tuning method against its written-out formula, and what all of them have in common."""

import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers import SwiGLU
from timm.models.eva import EvaBlock
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, PromptedViT, build_vit
from bpt_det.vit.tuning import SSF, AdaptFormer, BitFit, LoRA, PromptGate, TrainedBlocks
from bpt_det.vit.tuning.method import TuningMethod, replace_parts
from tests.support.vits import TINY_SIZES, count_parameters, tiny_vit

D, NUM_BLOCKS = TINY_SIZES["embed_dim"], TINY_SIZES["num_blocks"]
PROMPT_LENGTH = 7
IMAGES = torch.randn(2, 3, 20, 36, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

METHODS = {
    "lora": lambda **kwargs: LoRA(3, **kwargs),
    "lora_all": lambda **kwargs: LoRA(2, ["q", "k", "v", "proj", "mlp"], alpha=5, **kwargs),
    "adaptformer": lambda **kwargs: AdaptFormer(5, **kwargs),
    "ssf": SSF,
    "bitfit": BitFit,
    "trained_blocks": TrainedBlocks,
    "gate": PromptGate,
}
FAMILIES = {  # what a block of Eva may have that a ViT's has not
    "fused": {"qkv_bias": False, "init_values": 0.3},  # DINOv3
    "fused_bias": {"init_values": 0.3},  # DINOv3 with biases of q and v
    "separate_swiglu": {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True},  # EVA-02
    "packed_swiglu": {"swiglu_mlp": True, "attn_type": "rope"},
}


def tuned_vit(method, *, has_prompt=True, vit=None, **kwargs):
    """A model in float64 whose tuning is far from its initial values."""
    prompt = BilinearPrompt(PROMPT_LENGTH, rank=3, embed_dim=D) if has_prompt else None
    model = PromptedViT(vit or tiny_vit(), prompt, tuning=METHODS[method](**kwargs)).double()
    shake(model.tuning)
    return model


def shake(module):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


def attend(block, tokens, change=lambda name, value: value):
    """The attention of a block of timm's ViT; ``change`` sees each linear layer's output."""
    q, k, v = change("attn_qkv", block.attn.qkv(tokens)).chunk(3, dim=-1)
    heads = []
    for columns in torch.arange(D).chunk(block.attn.num_heads):
        scores = q[..., columns] @ k[..., columns].transpose(1, 2) / len(columns) ** 0.5
        heads.append(scores.softmax(dim=-1) @ v[..., columns])
    return change("attn_proj", block.attn.proj(torch.cat(heads, dim=-1)))


def lora(block, trained, tokens, scale):
    """A block in whose weights the changes are added, row by row."""
    block = copy.deepcopy(block)
    layers = {"proj": block.attn.proj, "mlp_fc1": block.mlp.fc1, "mlp_fc2": block.mlp.fc2}
    for name, factors in trained.items():
        delta = scale * factors.up @ factors.down
        if name in layers:
            layers[name].weight += delta
        else:
            start = D * "qkv".index(name)
            block.attn.qkv.weight[start : start + D] += delta
    return block(tokens)


def adaptformer(block, trained, tokens):
    tokens = tokens + attend(block, block.norm1(tokens))
    hidden = (tokens @ trained.down.weight.T + trained.down.bias).clamp(min=0)
    adapted = 0.1 * (hidden @ trained.up.weight.T + trained.up.bias)
    return tokens + block.mlp(block.norm2(tokens)) + adapted


def ssf(block, trained, tokens):
    def change(name, value):
        return value * trained[name].scale + trained[name].shift

    tokens = tokens + attend(block, change("norm1", block.norm1(tokens)), change)
    hidden = change("mlp_fc1", block.mlp.fc1(change("norm2", block.norm2(tokens))))
    return tokens + change("mlp_fc2", block.mlp.fc2(F.gelu(hidden)))


def bitfit(block, trained, tokens):
    block = copy.deepcopy(block)
    for name in list(block.state_dict()):
        if name.endswith("bias"):
            block.get_parameter(name).copy_(trained[name.replace(".", "_")])
    return block(tokens)


def gate(block, trained, tokens):
    output = block(tokens)
    share = 1 / (1 + (-trained["logit"]).exp())
    for i in range(1, 1 + PROMPT_LENGTH):
        output[:, i] = share * output[:, i] + (1 - share) * tokens[:, i]
    return output


FORMULAS = {
    "lora": lambda block, trained, tokens: lora(block, trained, tokens, 1),
    "lora_all": lambda block, trained, tokens: lora(block, trained, tokens, 5 / 2),
    "adaptformer": adaptformer,
    "ssf": ssf,
    "bitfit": bitfit,
    "trained_blocks": lambda block, trained, tokens: trained(tokens),
    "gate": gate,
}


@torch.no_grad()
@pytest.mark.parametrize("placement", ["all", [1, 3]])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_equals_its_formula_beside_prompts(method, placement):
    model = tuned_vit(method, placement=placement).eval()
    tokens = model.vit.norm_pre(model.vit._pos_embed(model.vit.patch_embed(IMAGES)))
    prompts = model.prompts["0"](2)
    tokens = torch.cat([tokens[:, :1], prompts, tokens[:, 1:]], dim=1)
    for index, block in enumerate(model.vit.blocks):
        if str(index) in model.tuning.blocks:
            tokens = FORMULAS[method](block, model.tuning.blocks[str(index)], tokens)
        else:
            tokens = block(tokens)
    torch.testing.assert_close(model.forward_tokens(IMAGES), tokens)
    expected = [1, 3] if placement != "all" else list(range(NUM_BLOCKS - (method == "gate")))
    assert [int(index) for index in model.tuning.blocks] == expected


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("ssf", "gate")])
def test_a_method_starts_at_the_frozen_network(method):
    model = PromptedViT(tiny_vit(), tuning=METHODS[method]()).double()
    torch.testing.assert_close(model(IMAGES), PromptedViT(tiny_vit())(IMAGES), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_frozen_network_is_bit_equal_after_a_step_and_every_tuned_parameter_moves(method):
    model = tuned_vit(method)
    before = copy.deepcopy(model.state_dict())
    model.train()(IMAGES).square().mean().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    torch.optim.SGD(trained, lr=1.0).step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("vit."), name
    assert all(parameter.grad is None for parameter in model.vit.parameters())


@pytest.mark.parametrize("method", [m for m in METHODS if m != "gate"])
def test_blocks_before_the_first_tuned_one_leave_no_graph(method):
    model = tuned_vit(method, has_prompt=False, placement="last_2")
    assert model.first_trained_block == NUM_BLOCKS - 2
    assert not model.prefix_tokens(IMAGES).requires_grad
    assert model(IMAGES).requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_activation_checkpointing_gives_the_same_gradients(method):
    models = [tuned_vit(method).eval() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[1].activation_checkpointing = True
    for model in models:
        model(IMAGES).square().mean().backward()
    for expected, parameter in zip(*(m.tuning.parameters() for m in models), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


@pytest.mark.parametrize("method", METHODS)
def test_tuning_computes_under_autocast_and_every_parameter_has_a_finite_gradient(method):
    prompt = BilinearPrompt(PROMPT_LENGTH, rank=3, embed_dim=D)
    model = PromptedViT(tiny_vit(torch.float32), prompt, tuning=METHODS[method]()).train()
    shake(model.tuning)
    with torch.autocast("cpu", torch.bfloat16):
        tokens = model(IMAGES.float())
    tokens.float().square().mean().backward()
    exact = model.eval()(IMAGES.float())
    assert (tokens.float() - exact).norm() < 0.3 * exact.norm()
    for name, parameter in model.tuning.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.dtype == torch.float32, name


def test_a_tuned_block_learns_as_deep_as_it_lies():
    model = tuned_vit("lora", placement=[1, 3])
    depths = model.parameter_depths()
    for name, parameter in model.tuning.named_parameters():
        assert depths[parameter] == int(name.split(".")[1]) + 1, name
    assert {depths[p] for p in model.prompts.parameters()} == {NUM_BLOCKS + 1}


def test_two_models_can_share_a_frozen_network_that_one_of_them_tunes():
    vit = tiny_vit()
    plain = PromptedViT(vit)
    expected = plain(IMAGES)
    tuned = tuned_vit("lora", has_prompt=False, vit=vit)
    assert not torch.allclose(tuned(IMAGES), expected)
    assert torch.equal(plain(IMAGES), expected)


def vit_b(tuning, prompt=None):
    with torch.device("meta"):
        return PromptedViT(build_vit(**ARCHITECTURES["vit_b"]), prompt, tuning=tuning)


@pytest.mark.parametrize(
    ("tuning", "expected"),
    [
        (LoRA(), 294_912),
        (LoRA(8, ["q", "k", "v", "proj"]), 589_824),
        (LoRA(8, ["q", "k", "v", "proj", "mlp"]), 1_327_104),
        (LoRA(4, ["mlp"], placement="last_2"), 2 * 10 * 4 * 768),
        (AdaptFormer(), 1_189_632),
        (AdaptFormer(8, placement=[5]), 2 * 768 * 8 + 8 + 768),
        (SSF(), 202_752),
        (BitFit(), 101_376),
        (TrainedBlocks("last_1"), 7_087_872),
        (TrainedBlocks("last_2"), 2 * 7_087_872),
    ],
)
def test_counts_of_trained_parameters_for_vit_b(tuning, expected):
    model = vit_b(tuning)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected
    assert count_parameters(tuning) == expected


def test_the_gate_adds_11_parameters_to_shallow_prompts_of_vit_b():
    model = vit_b(PromptGate(), BilinearPrompt(100, 100, 768))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 100 * (100 + 768) + 11


@torch.no_grad()
@pytest.mark.parametrize("method", ["lora", "lora_all", "ssf"])
def test_a_merged_network_has_equal_outputs_and_leaves_the_frozen_one_alone(method):
    vit = tiny_vit()
    before = copy.deepcopy(vit.state_dict())
    model = tuned_vit(method, vit=vit).eval()
    expected = model(IMAGES)
    model.merge_tuning()
    torch.testing.assert_close(model(IMAGES), expected)
    assert model.tuning is None and model.vit is not vit
    assert not any(name.startswith("tuning") for name in model.state_dict())
    for name, value in vit.state_dict().items():
        assert torch.equal(value, before[name]), name
    model.merge_tuning()  # nothing is left to do
    torch.testing.assert_close(model(IMAGES), expected)


@pytest.mark.parametrize("method", ["adaptformer", "bitfit", "trained_blocks", "gate"])
def test_other_methods_refuse_to_be_merged(method):
    model = tuned_vit(method)
    with pytest.raises(InputError, match="cannot be merged into the ViT; only LoRA and SSF can"):
        model.merge_tuning()
    assert model.tuning is not None


def test_lora_refuses_to_be_merged_while_its_dropout_is_on():
    model = tuned_vit("lora", dropout=0.25)
    with pytest.raises(InputError, match=r"merged while its dropout=0\.25 is on; call eval\(\)"):
        model.train().merge_tuning()
    model.eval().merge_tuning()


def eva_block(family):
    torch.manual_seed(0)
    block = EvaBlock(D, 3, mlp_ratio=2, **{"qkv_bias": True, **FAMILIES[family]}).double().eval()
    shake(block)
    return block.requires_grad_(False)


def sequence():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 11, D, generator=generator, dtype=torch.float64)


def built(method, block):
    tuning = METHODS[method]()
    trained = tuning.build(block).double()
    return tuning, trained


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("ssf", "gate")])
def test_a_method_starts_at_the_frozen_block_of_eva(method, family):
    block = eva_block(family)
    tuning, trained = built(method, block)
    tuned = replace_block(block, tuning.replace(block, trained))
    torch.testing.assert_close(tuned(sequence()), block(sequence()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [m for m in METHODS if m != "gate"])
def test_every_tuned_parameter_of_a_block_of_eva_has_an_effect(method, family):
    """A projection that the attention bypasses would be tuned in vain."""
    block = eva_block(family)
    tuning, trained = built(method, block)
    shake(trained)
    replace_block(block, tuning.replace(block, trained))(sequence()).square().mean().backward()
    assert trained.parameters()
    for name, parameter in trained.named_parameters():
        is_idle = name.endswith("k_proj.bias")  # a constant beside all keys cancels
        assert parameter.grad.abs().max() > 0 or is_idle, name
    assert all(p.grad is None for p in block.parameters())


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["lora_all", "ssf"])
def test_a_merged_block_of_eva_has_equal_outputs(method, family):
    block = eva_block(family)
    tuning, trained = built(method, block)
    shake(trained)
    expected = replace_block(block, tuning.replace(block, trained))(sequence())
    merged = replace_block(block, tuning.merge(block, trained))
    torch.testing.assert_close(merged(sequence()), expected)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_of_a_block_of_eva_equals_changed_weights(family):
    block = eva_block(family)
    tuning, trained = built("lora", block)
    shake(trained)
    changed = copy.deepcopy(block)
    for role, start in (("q", 0), ("v", 2 * D)):
        delta = trained[role].up @ trained[role].down
        if changed.attn.qkv is not None:
            changed.attn.qkv.weight[start : start + D] += delta
        else:
            getattr(changed.attn, f"{role}_proj").weight += delta
    tuned = replace_block(block, tuning.replace(block, trained))
    torch.testing.assert_close(tuned(sequence()), changed(sequence()))


def test_adaptformer_leaves_the_layer_scale_to_the_mlp():
    block = eva_block("fused")
    tuning, trained = built("adaptformer", block)
    shake(trained)
    middle = sequence() + block.gamma_1 * block.attn(block.norm1(sequence()))
    expected = middle + block.gamma_2 * block.mlp(block.norm2(middle)) + trained.eval()(middle)
    tuned = replace_block(block, tuning.replace(block, trained))
    torch.testing.assert_close(tuned(sequence()), expected)


def test_lora_of_a_gated_mlp_has_three_layers():
    block = eva_block("separate_swiglu")
    assert isinstance(block.mlp, SwiGLU)
    tuning = LoRA(2, ["mlp"])
    hidden = block.mlp.fc2.in_features
    assert count_parameters(tuning.build(block)) == 3 * 2 * (D + hidden)


def replace_block(block, parts):
    """A block with its parts replaced; "" replaces the block."""
    return parts[""] if "" in parts else replace_parts(block, parts)


def test_replaced_parts_leave_the_module_and_its_other_parts_alone():
    module = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    weight = torch.zeros(4, 3)
    copied = replace_parts(module, {"1.0.weight": weight, "1.1": nn.Identity(), "0.bias": None})
    assert copied[1][0].weight is weight and copied[0].bias is None
    assert copied[0].weight is module[0].weight and copied[1][0].bias is module[1][0].bias
    assert isinstance(module[1][1], nn.ReLU) and module[0].bias is not None
    assert module[1][0].weight is not weight
    with pytest.raises(StopIteration):
        replace_parts(module, {"0.scale": weight})


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: LoRA(0), r"rank must be an integer >= 1, got 0\."),
        (lambda: LoRA(targets=["q", "w"]), r"a list of q, k, v, proj, mlp, got \['q', 'w'\]"),
        (lambda: LoRA(targets="q"), r"must be a list of q, k, v, proj, mlp, got 'q'"),
        (lambda: LoRA(targets=[]), r"must be a list of q, k, v, proj, mlp, got \[\]"),
        (lambda: LoRA(dropout=1), r"dropout must be in \[0, 1\), got 1"),
        (lambda: LoRA(alpha="8"), r"alpha must be a finite number, got '8'"),
        (lambda: LoRA(alpha=float("nan")), r"alpha must be a finite number, got nan"),
        (lambda: AdaptFormer(scale=True), r"scale must be a finite number, got True"),
        (lambda: PromptGate(None), r"initial_logit must be a finite number, got None"),
        (lambda: AdaptFormer(0), r"bottleneck must be an integer >= 1, got 0"),
        (lambda: AdaptFormer(dropout=-0.5), r"dropout must be in \[0, 1\), got -0\.5"),
        (lambda: attached(LoRA(13)), r"rank of LoRA must be in \[1, 12\], the smaller size of at"),
        (lambda: attached(LoRA(placement=[2, 5])), r"placement \[2, 5\] must be ascending block"),
        (lambda: attached(SSF("last_6")), r"placement 'last_6' needs between 1 and 5 blocks"),
        (lambda: attached(BitFit("released")), r"'released' is for prompts; BitFit takes 'all', "),
        (lambda: attached(PromptGate()), r"PromptGate needs prompts, but the model has none; "),
        (lambda: attached("lora"), r"tuning must be a tuning method, such as LoRA, .* got 'lora'"),
        (lambda: attached(LoRA(3), frozen=False), r"LoRA tunes a frozen ViT, but frozen=False tr"),
        (lambda: gated("all"), r"PromptGate has no block to act on: the prompts of each are repla"),
        (lambda: gated([1, 3], [2]), r"hand their prompts on, \[1, 3\], not in \[2\]"),
        (lambda: gated("shallow", [4]), r"hand their prompts on, \[0, 1, 2, 3\], not in \[4\]"),
    ],
)
def test_what_does_not_fit_is_refused_with_one_line(build, problem):
    with pytest.raises(InputError, match=problem) as caught:
        build()
    assert "\n" not in str(caught.value) and caught.value.parameter


def attached(tuning, **kwargs):
    return PromptedViT(tiny_vit(), tuning=tuning, **kwargs)


def gated(prompted, placement="all"):
    prompt = BilinearPrompt(PROMPT_LENGTH, 3, D)
    return PromptedViT(tiny_vit(), prompt, prompted, tuning=PromptGate(placement=placement))


def test_a_block_without_what_a_method_looks_for_is_refused():
    block = eva_block("fused")
    block.attn.qkv = block.attn.proj_drop = None
    block.attn.forward = None
    with pytest.raises(InputError, match=r"EvaAttention\) has no qkv and no q_proj, which tuning"):
        LoRA(2).build(block)
    odd = nn.Module()
    for tuning, part in ((LoRA(2), "attn"), (SSF(), "norm1")):
        with pytest.raises(InputError, match=rf"blocks of this ViT \(Module\) have no {part}, "):
            tuning.build(odd)
    with pytest.raises(InputError, match="but those of this ViT are Module; use prompts"):
        AdaptFormer().build(odd)
    block = eva_block("fused")
    block.norm2 = nn.RMSNorm(D)
    with pytest.raises(InputError, match="norm2 of this ViT is a RMSNorm without a bias; use LoRA"):
        SSF().build(block)
    for module in list(block.modules()):
        if isinstance(module, nn.Linear | nn.LayerNorm):
            module.bias = None
    with pytest.raises(InputError, match="BitFit trains biases, but the blocks of this ViT have"):
        BitFit().build(block)


@pytest.mark.parametrize("method", METHODS)
def test_a_tuned_network_consists_of_modules_that_profilers_can_walk_through(method):
    model = tuned_vit(method)
    with FlopCounterMode(display=False) as counter:
        model(IMAGES).sum().backward()
    assert counter.get_total_flops() > 0
    tuned = model.tuning.tuned(model.vit)
    assert all(isinstance(module, nn.Module) for module in tuned.modules())


def test_a_method_of_ones_own_needs_two_functions():
    class Shifted(nn.Module):
        def __init__(self, block, shift):
            super().__init__()
            self.block, self.shift = block, shift

        def forward(self, tokens):
            return self.block(tokens) + self.shift

    class Shift(TuningMethod):
        def build(self, block):
            return nn.ParameterDict({"shift": nn.Parameter(torch.zeros(D))})

        def replace(self, block, trained):
            return {"": Shifted(block, trained["shift"])}

    model = PromptedViT(tiny_vit(), tuning=Shift("last_1")).double()
    before = model(IMAGES)
    with torch.no_grad():
        model.tuning.blocks["4"]["shift"] += 2
    torch.testing.assert_close(model(IMAGES), before + 2)
