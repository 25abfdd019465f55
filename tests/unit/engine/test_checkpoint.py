"""Checkpoints: what is in them, how they are written, and what they refuse."""

import io
from pathlib import Path

import pytest
import torch
from torch import nn

from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.engine.ema import Ema
from bpt_det.engine.starting import Start, freeze_prompts
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT, build_vit, fingerprint

SIZES = {"embed_dim": 12, "num_blocks": 2, "num_heads": 3, "patch_size": 4, "pretrain_size": 8}


class Detector(nn.Module):
    """A prompted ViT and a head, as any of our models."""

    def __init__(self, prompt_length=5, init_seed=0):
        super().__init__()
        vit = build_vit(**SIZES, init_seed=init_seed)
        self.backbone = PromptedViT(vit, BilinearPrompt(prompt_length, 3, 12))
        self.head = nn.Linear(12, 7)


def saved(tmp_path, model, name="model", class_names=None, **kwargs):
    FrozenAwareCheckpointer(model, str(tmp_path), class_names=class_names).save(name, **kwargs)
    return tmp_path / f"{name}.pth"


def test_a_file_holds_what_is_trained_and_the_fingerprint_of_what_is_frozen(tmp_path):
    model = Detector()
    content = torch.load(saved(tmp_path, model), weights_only=True)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert content["model"].keys() == trained
    assert content["frozen"] == {"backbone.vit": fingerprint(model.backbone.vit)}


def test_what_was_saved_comes_back(tmp_path):
    model, other = Detector(), Detector()
    FrozenAwareCheckpointer(other).load(str(saved(tmp_path, model)))
    for (name, value), (_, expected) in zip(
        other.named_parameters(), model.named_parameters(), strict=True
    ):
        assert torch.equal(value, expected), name


def test_checkpointables_are_saved_and_loaded_with_the_model(tmp_path):
    model = Detector()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.5, momentum=0.9)
    FrozenAwareCheckpointer(model, str(tmp_path), optimizer=optimizer).save("model")
    fresh = torch.optim.SGD(model.head.parameters(), lr=0.1, momentum=0.9)
    checkpointer = FrozenAwareCheckpointer(model, str(tmp_path), optimizer=fresh)
    checkpointer.resume_or_load("", resume=True)
    assert fresh.param_groups[0]["lr"] == 0.5


def test_what_a_file_does_not_hold_stays_as_it_is(tmp_path):
    model = Detector()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.5)
    saved(tmp_path, model)
    checkpointer = FrozenAwareCheckpointer(model, str(tmp_path), optimizer=optimizer)
    checkpointer.resume_or_load("", resume=True)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FrozenAwareCheckpointer(Detector()).save("model")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_frozen_vit_is_refused(tmp_path):
    path = saved(tmp_path, Detector())
    with pytest.raises(
        InputError, match=r"trained on another frozen ViT \(backbone.vit has fingerprint \w{12} th"
    ):
        FrozenAwareCheckpointer(Detector(init_seed=1)).load(str(path))


def test_a_file_of_another_prompt_length_is_refused_with_both_sizes(tmp_path):
    path = saved(tmp_path, Detector())
    expected = (
        r"1 of another size \(backbone.prompts.0.coeff is \(5, 3\) there, \(6, 3\) here\)\. "
        "Set prompt_length, rank"
    )
    with pytest.raises(InputError, match=expected):
        FrozenAwareCheckpointer(Detector(prompt_length=6)).load(str(path))


def test_missing_and_unknown_weights_are_both_named(tmp_path):
    model = Detector()
    path = saved(tmp_path, model)
    content = torch.load(path, weights_only=True)
    content["model"]["neck.weight"] = content["model"].pop("head.bias")
    torch.save(content, path)
    with pytest.raises(
        InputError, match=r"1 missing there \(head.bias\); 1 unknown here \(neck.weight\)\."
    ):
        FrozenAwareCheckpointer(model).load(str(path))


def test_a_refused_file_leaves_the_model_as_it_was(tmp_path):
    path = saved(tmp_path, Detector())
    other = Detector(prompt_length=6)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError):
        FrozenAwareCheckpointer(other).load(str(path))
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_a_truncated_file_is_named(tmp_path):
    path = saved(tmp_path, Detector())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"model.pth' \(\d+ bytes\) is truncated or not a file of"):
        FrozenAwareCheckpointer(Detector()).load(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no.pth' do not exist\. Give the path of a model_\*.pth"):
        FrozenAwareCheckpointer(Detector()).load(str(tmp_path / "no.pth"))


def test_a_file_of_plain_weights_is_refused(tmp_path):
    path = tmp_path / "plain.pth"
    torch.save({"model": Detector().state_dict()}, path)
    with pytest.raises(InputError, match=r"plain.pth' is not a checkpoint of this project\."):
        FrozenAwareCheckpointer(Detector()).load(str(path))


def test_an_interruption_while_writing_keeps_the_earlier_file(tmp_path, monkeypatch):
    model = Detector()
    path = saved(tmp_path, model)
    before = path.read_bytes()

    def interrupted(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("bpt_det.engine.checkpoint.torch.save", interrupted)
    nn.init.zeros_(model.head.weight)
    with pytest.raises(KeyboardInterrupt):
        FrozenAwareCheckpointer(model, str(tmp_path)).save("model")
    assert path.read_bytes() == before


def test_a_full_disk_is_one_line_and_keeps_the_earlier_file(tmp_path, monkeypatch):
    model = Detector()
    before = saved(tmp_path, model).read_bytes()

    class FullDisk(io.FileIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, mode: FullDisk(self, mode))
    with pytest.raises(InputError, match=r"cannot write '.*model.pth' \(.*\); is the disk full\?"):
        FrozenAwareCheckpointer(model, str(tmp_path)).save("model")
    monkeypatch.undo()
    assert (tmp_path / "model.pth").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last_checkpoint", "model.pth"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_not_written_over_good_ones(tmp_path, value):
    model = Detector()
    before = saved(tmp_path, model).read_bytes()
    model.head.bias.data[3] = value
    with pytest.raises(InputError, match=r"head.bias became NaN or infinite; checkpoint 'model' w"):
        FrozenAwareCheckpointer(model, str(tmp_path)).save("model")
    assert (tmp_path / "model.pth").read_bytes() == before


def test_resuming_continues_from_the_last_file_not_the_best(tmp_path):
    model = Detector()
    saved(tmp_path, model, "model_0000009")
    saved(tmp_path, model, "model_best", is_last=False)
    checkpointer = FrozenAwareCheckpointer(model, str(tmp_path))
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "model_0000009.pth")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("no.pth", "Give the path of a model_*.pth that a training run has written."),
        ("no.pkl", "docs/how_to/coco.md has the address of Detectron2's published"),
    ],
)
def test_a_missing_file_is_refused_with_where_such_files_come_from(name, hint):
    with pytest.raises(InputError) as refused:
        FrozenAwareCheckpointer(Detector()).load(name)
    assert str(refused.value).startswith(f"weights '{name}' do not exist. {hint}")


def changed(path, change):
    """Apply a change to the content of a file."""
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def refusal(path, **checkpointables):
    model = Detector(init_seed=0)
    with pytest.raises(InputError) as caught:
        FrozenAwareCheckpointer(model, **checkpointables).load(str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_file_of_numbers_that_are_not_finite_is_refused_by_tensor(tmp_path, value):
    path = saved(tmp_path, Detector())
    changed(path, lambda content: content["model"]["head.bias"].fill_(value))
    assert "holds NaN or infinite numbers in 1 of 4 tensors (head.bias)" in refusal(path)
    changed(path, lambda content: content["model"]["head.bias"].fill_(0))
    changed(path, lambda content: content.update(ema={"head.bias": torch.tensor([value])}))
    assert "holds NaN or infinite numbers in 1 of 1 tensors (head.bias)" in refusal(path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_of_another_type_are_refused_with_both_types(tmp_path, dtype):
    path = saved(tmp_path, Detector())
    changed(path, lambda content: content["model"].update({"head.bias": torch.zeros(7).to(dtype)}))
    assert f"1 of another type (head.bias is {dtype} there, torch.float32 here)" in refusal(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", {"head.bias": 3}),
        ("model", {3: torch.zeros(2)}),
        ("frozen", ["backbone.vit"]),
        ("class_names", "cat"),
        ("class_names", [["cat"]]),
        ("settings", 3),
        ("ema", [torch.zeros(3)]),
        ("ema", {"head.bias": 0.5}),
    ],
)
def test_contents_of_another_kind_are_refused_by_key(tmp_path, key, value):
    path = saved(tmp_path, Detector())
    changed(path, lambda content: content.update({key: value}))
    assert f"not a checkpoint of this project: its {key} are something else" in refusal(path)


class Counter:
    """A checkpointable with one number."""

    def state_dict(self):
        return {"count": 3}

    def load_state_dict(self, state):
        self.count = int(state["count"])


@pytest.mark.parametrize("state", [None, [], {}, {"count": "three"}, {"count": [3]}])
def test_a_state_of_another_kind_is_refused_by_key(tmp_path, state):
    path = saved(tmp_path, Detector())
    changed(path, lambda content: content.update(trainer=state))
    assert "does not hold the state of this trainer (" in refusal(path, trainer=Counter())


class Classifier(Detector):
    """A detector with a layer of one weight per class and one for the background."""

    class_layers = ("classes",)

    def __init__(self, num_classes):
        super().__init__()
        self.classes = nn.Linear(3, num_classes + 1)


NAMES = ["nut", "screw", "pin", "washer"]


def start_from(path, model, *, names=NAMES, **how):
    checkpointer = FrozenAwareCheckpointer(model, class_names=names, start=Start(**how))
    checkpointer.load(path)
    return checkpointer.report


def test_training_on_other_classes_starts_from_the_rows_of_those_that_are_known(tmp_path, caplog):
    caplog.set_level("INFO")
    trained, started = Classifier(2), Classifier(4)
    nn.init.constant_(trained.head.bias, 5.0)
    path = str(saved(tmp_path, trained, class_names=["bolt", "nut"]))
    initial = started.classes.weight.clone()
    report = start_from(path, started)
    assert torch.equal(started.head.bias, trained.head.bias)
    rows, theirs = started.classes.weight, trained.classes.weight
    assert torch.equal(rows[0], theirs[1]) and torch.equal(rows[4], theirs[2])  # the background
    assert torch.equal(rows[1:4], initial[1:4])
    assert (report.copied, report.new) == (["nut"], ["screw", "pin", "washer"])
    lines = caplog.messages[-1].splitlines()
    assert len(lines) == 5 and "loaded: 1 (nut)" in lines[2]
    with pytest.raises(InputError, match="does not fit this model"):
        FrozenAwareCheckpointer(Classifier(4), class_names=NAMES).load(path)


def test_new_classes_take_no_row_and_strict_ones_refuse_others(tmp_path):
    path = str(saved(tmp_path, Classifier(4), class_names=NAMES))
    started = Classifier(4)
    initial = started.classes.weight.clone()
    start_from(path, started, classes="new")
    assert torch.equal(started.classes.weight, initial)
    assert start_from(path, started, classes="strict").copied == NAMES
    with pytest.raises(
        InputError, match=r"with 4 classes \(nut.*here are 4 \(nut, .*init_classes=m"
    ):
        start_from(path, started, names=[*NAMES[:3], "bolt"], classes="strict")


def test_as_many_other_classes_are_matched_by_name_too(tmp_path):
    trained, started = Classifier(4), Classifier(4)
    path = str(saved(tmp_path, trained, class_names=NAMES))
    start_from(path, started, names=NAMES[::-1])
    order = [3, 2, 1, 0, 4]
    assert torch.equal(started.classes.weight, trained.classes.weight[order])


def test_prompts_are_loaded_or_begin_anew(tmp_path):
    path = str(saved(tmp_path, Classifier(4), class_names=NAMES))
    for how, model in (("keep", Classifier(4)), ("new", Classifier(4))):
        name = "backbone.prompts.0.coeff"
        initial = model.get_parameter(name).clone()
        report = start_from(path, model, prompts=how)
        assert report.has_new_prompts == (how == "new")
        assert torch.equal(model.get_parameter(name), initial) == (how == "new")
    other = Classifier(4)
    other.backbone = Detector(prompt_length=6).backbone
    with pytest.raises(InputError, match="coeff is .5, 3. there, .6, 3. here"):
        start_from(path, other)
    start_from(path, other, prompts="new")
    freeze_prompts(other)
    trained = {name for name, p in other.named_parameters() if p.requires_grad}
    assert trained == {"head.weight", "head.bias", "classes.weight", "classes.bias"}


@pytest.mark.parametrize("metric", ["bbox_ema/AP", "bbox/AP"])
def test_averages_are_used_where_the_file_was_chosen_by_them(tmp_path, metric):
    trained, loaded = Detector(), Detector()
    ema = Ema(trained, 0.9)
    with torch.no_grad():
        trained.head.bias += 1
    checkpointer = FrozenAwareCheckpointer(trained, str(tmp_path), ema=ema)
    checkpointer.save("best", best={"metric": metric, "mode": "max", "value": 1, "iteration": 0})
    FrozenAwareCheckpointer(loaded).load(str(tmp_path / "best.pth"))
    expected = trained.head.bias - 1 if metric == "bbox_ema/AP" else trained.head.bias
    torch.testing.assert_close(loaded.head.bias, expected)
    fresh = Ema(loaded, 0.9)  # both are evaluated: the weights stay what they are
    FrozenAwareCheckpointer(loaded, ema=fresh).load(str(tmp_path / "best.pth"))
    torch.testing.assert_close(loaded.head.bias, trained.head.bias)


def test_classes_in_another_order_are_not_evaluated_by_index(tmp_path):
    path = str(saved(tmp_path, Classifier(2), class_names=["bolt", "nut"]))
    with pytest.raises(InputError, match="in another order"):
        FrozenAwareCheckpointer(Classifier(2), class_names=["nut", "bolt"]).load(path)
