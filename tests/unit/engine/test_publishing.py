"""Published checkpoints: what they hold, that they load, and what is refused."""

import publish_checkpoint as publish_tool
import pytest
import torch
from torch import nn

from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.engine.checkpoint import read_classes
from bpt_det.engine.model_state import trained_state
from bpt_det.engine.publishing import publish_checkpoint
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT, build_vit

SIZES = {"embed_dim": 12, "num_blocks": 2, "num_heads": 3, "patch_size": 4, "pretrain_size": 8}


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = PromptedViT(build_vit(**SIZES), BilinearPrompt(5, 3, 12))
        self.norm = nn.BatchNorm1d(12)  # counts batches as an integer
        self.large = nn.Linear(1200, 900)
        self.tiny = nn.Linear(1000, 1001)


def load(path):
    """The trained part of a model that a file was loaded into."""
    model = Detector()
    FrozenAwareCheckpointer(model).load(str(path))
    return trained_state(model)


@pytest.fixture
def run_file(tmp_path):
    """Checkpoint of a run, with an optimizer that has a state."""
    model = Detector()
    optimizer = torch.optim.SGD(model.norm.parameters(), lr=0.1, momentum=0.9)
    model.norm(torch.randn(4, 12)).square().mean().backward()
    optimizer.step()
    checkpointer = FrozenAwareCheckpointer(
        model, str(tmp_path), class_names=["disc", "ring"], optimizer=optimizer
    )
    checkpointer.save("model", iteration=7)
    return tmp_path / "model.pth"


def read(path):
    return torch.load(path, weights_only=True)


def test_the_trained_weights_come_back_and_nothing_else_is_kept(run_file, tmp_path):
    target = tmp_path / "published.pth"
    publish_checkpoint(str(run_file), target)
    stored, before = read(target), read(run_file)
    assert stored.keys() == {"model", "frozen", "class_names", "category_ids", "settings"}
    assert {"optimizer", "iteration"} <= before.keys()
    assert read_classes(str(target))[0] == ["disc", "ring"]
    for name, value in load(target).items():
        assert torch.equal(value, before["model"][name]), name


def test_a_compact_file_is_loaded_as_float32_and_is_as_close_as_its_types(run_file, tmp_path):
    target = tmp_path / "published.pth"
    content = read(run_file)
    content["model"]["tiny.weight"] *= 1e-2  # too small for 8 bits, which have no small numbers
    torch.save(content, run_file)
    publish_checkpoint(str(run_file), target, compact=True)
    stored = read(target)["model"]
    special = {
        "large.weight": torch.float8_e4m3fn,
        "norm.num_batches_tracked": torch.int64,
    }
    for name, value in load(target).items():
        expected = content["model"][name]
        assert stored[name].dtype == special.get(name, torch.float16), name
        assert value.dtype == expected.dtype, name
        tolerance = 0.04 if name == "large.weight" else 1e-3
        error = (value - expected).double().norm()
        assert error <= tolerance * expected.double().norm() + 1e-7, name


def test_a_weight_beyond_float16_is_refused_by_name(run_file, tmp_path):
    content = torch.load(run_file, weights_only=True)
    content["model"]["norm.weight"][3] = 1e6
    torch.save(content, run_file)
    with pytest.raises(InputError, match="norm.weight is too large for float16"):
        publish_checkpoint(str(run_file), tmp_path / "published.pth", compact=True)
    assert not (tmp_path / "published.pth").exists()


def test_an_existing_file_is_kept(run_file):
    before = run_file.read_bytes()
    with pytest.raises(InputError, match="exists; choose another name"):
        publish_checkpoint(str(run_file), run_file)
    assert run_file.read_bytes() == before


def test_a_file_without_a_fingerprint_is_refused(tmp_path):
    torch.save({"model": {"a": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="is a file of Detectron2's"):
        publish_checkpoint(str(tmp_path / "other.pth"), tmp_path / "published.pth")


def test_the_tool_writes_a_small_file_and_says_bad_input_in_one_line(run_file, tmp_path, capsys):
    assert publish_tool.main(["--compact", str(run_file), str(tmp_path / "by_tool.pth")]) == 0
    assert (tmp_path / "by_tool.pth").stat().st_size < run_file.stat().st_size / 2
    assert publish_tool.main([str(tmp_path / "absent.pth"), str(tmp_path / "new.pth")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: weights '") and error.count("\n") == 1
