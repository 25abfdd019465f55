"""Every tuning method in a network of every family: trained, resumed, merged."""

import copy
import functools

import pytest
import torch
from torch import nn

from bpt_det.engine import FrozenAwareCheckpointer, merge_tuning
from bpt_det.engine.starting import Start
from bpt_det.prompts import FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from bpt_det.vit.tuning import SSF, AdaptFormer, BitFit, LoRA, PromptGate, TrainedBlocks
from tests.support.families import FAMILIES, ToyNetwork, small_network

METHODS = {
    "lora": lambda: LoRA(2, ["q", "k", "v", "proj", "mlp"]),
    "adaptformer": lambda: AdaptFormer(3),
    "ssf": SSF,
    "bitfit": BitFit,
    "trained_blocks": lambda: TrainedBlocks("last_2"),
    "gate": PromptGate,
}
REFUSED = {("ssf", "sapiens2"): "norm1 of this ViT is a RmsNorm without a bias; use LoRA, "}
IMAGES = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


class Regressor(nn.Module):
    """A tuned network beside shallow prompts, and a head."""

    def __init__(self, vit, method):
        super().__init__()
        torch.manual_seed(0)
        width = vit.embed_dim
        self.backbone = PromptedViT(vit, FreePrompt(3, width, 4), tuning=METHODS[method]())
        self.head = nn.Linear(width, 1)

    def forward(self, images):
        return self.head(self.backbone(images).mean(dim=1))


def train(model, optimizer, first, last):
    for iteration in range(first, last):
        torch.manual_seed(iteration)  # of dropout
        optimizer.zero_grad()
        (model(IMAGES) - torch.tensor([[1.0], [-1.0]])).square().mean().backward()
        optimizer.step()


@functools.cache
def frozen_network(family):
    """The network that all runs of a family share, as none may change it."""
    return small_network(family, torch.float32)


@pytest.mark.parametrize(
    ("setting", "saved", "other"),
    [
        ("alpha", lambda: LoRA(2), lambda: LoRA(2, alpha=8)),
        ("scale", lambda: AdaptFormer(3), lambda: AdaptFormer(3, scale=1.0)),
    ],
)
def test_a_scale_that_shows_in_no_weight_is_compared(tmp_path, setting, saved, other):
    vit = frozen_network(FAMILIES[0])
    model = PromptedViT(vit, tuning=saved())
    FrozenAwareCheckpointer(nn.Sequential(model), str(tmp_path)).save("model")
    path = str(tmp_path / "model.pth")
    FrozenAwareCheckpointer(nn.Sequential(PromptedViT(vit, tuning=saved()))).load(path)
    with pytest.raises(InputError, match=rf"was trained with {setting}="):
        FrozenAwareCheckpointer(nn.Sequential(PromptedViT(vit, tuning=other()))).load(path)
    model = nn.Sequential(PromptedViT(vit, tuning=other()))  # whose weights begin anew
    FrozenAwareCheckpointer(model, start=Start(prompts="new")).load(path)


def new_run(family, method, folder=""):
    model = Regressor(frozen_network(family), method).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    return model, optimizer, FrozenAwareCheckpointer(model, str(folder), optimizer=optimizer)


PAIRS = [(method, family) for family in FAMILIES for method in METHODS]


@pytest.mark.parametrize(("method", "family"), [pair for pair in PAIRS if pair not in REFUSED])
def test_three_iterations_equal_two_and_one_after_a_resume(method, family, tmp_path):
    model, optimizer, checkpointer = new_run(family, method, tmp_path)
    before = copy.deepcopy(model.state_dict())
    train(model, optimizer, 0, 2)
    checkpointer.save("model")
    train(model, optimizer, 2, 3)
    resumed, optimizer, checkpointer = new_run(family, method)
    checkpointer.resume(tmp_path / "model.pth")
    train(resumed, optimizer, 2, 3)
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
        is_frozen = name.startswith("backbone.vit.")
        assert torch.equal(value, before[name]) == is_frozen, name
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    assert not any(name.startswith("backbone.vit.") for name in content["model"])


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["lora", "ssf"])
def test_a_merged_network_has_equal_outputs(method, family):
    if (method, family) in REFUSED:
        pytest.skip("refused")
    model = Regressor(small_network(family), method).double().eval()
    generator = torch.Generator().manual_seed(2)
    for parameter in model.backbone.tuning.parameters():
        parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    tokens = model.backbone.forward_tokens(IMAGES.double())
    merge_tuning(model)
    assert model.backbone.tuning is None
    torch.testing.assert_close(model.backbone.forward_tokens(IMAGES.double()), tokens)


@pytest.mark.parametrize(("pair", "reason"), REFUSED.items())
def test_a_pair_that_does_not_fit_is_refused_with_the_reason(pair, reason):
    method, family = pair
    with pytest.raises(InputError, match=reason):
        Regressor(small_network(family), method)


def test_blocks_and_biases_of_a_network_from_elsewhere_can_be_trained_and_others_are_refused():
    images = torch.randn(2, 3, 10, 15)
    for tuning in (TrainedBlocks("last_2"), BitFit([1])):
        model = PromptedViT(ToyNetwork(), tuning=tuning)
        model(images).square().mean().backward()
        assert all(p.grad is not None for p in tuning.parameters())
        assert all(p.grad is None for p in model.vit.parameters())
    for tuning, reason in ((LoRA(2), "have no attn"), (AdaptFormer(), "this ViT are Linear")):
        with pytest.raises(InputError, match=reason):
            PromptedViT(ToyNetwork(), tuning=tuning)
