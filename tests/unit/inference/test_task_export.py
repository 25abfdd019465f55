"""Task files: what is exported of a run, and the models that are made of it again."""

import inspect
import json

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bpt_det import ImageClassifier, Predictor
from bpt_det.cli import export as export_command
from bpt_det.config import load_config
from bpt_det.engine import load_trained_model
from bpt_det.engine.model_state import trained_state
from bpt_det.engine.result import RunResult
from bpt_det.engine.task_file import read_card
from bpt_det.inference import export_task, push_to_hub, task_export
from bpt_det.utils.errors import InputError
from bpt_det.vit.weights.loading import license_of
from tests.support.predictors import set_class_names, write_run
from tests.support.vits import write_mae_file

NAMES = [f"class of {index}" for index in range(10)]
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory, shapes_root):
    """Folder of a run on a ViT of a file, ``mae.pth``, with another one of its sizes beside it."""
    folder = tmp_path_factory.mktemp("run")
    vit = write_run(folder, shapes_root).model.backbone.net.vit
    sizes = ("embed_dim", "num_blocks", "num_heads", "patch_size", "pretrain_size")
    for seed, name in enumerate(("mae.pth", "other.pth")):
        write_mae_file(folder / name, {size: vit[size] for size in sizes}, seed=seed)
    write_run(folder, shapes_root, vit_checkpoint=folder / "mae.pth")
    set_class_names(folder / "model_final.pth", NAMES, folder / "model_final.pth")
    result = RunResult(command=["bpt-det", "train", "a b"])
    result.metrics["last"] = {"bbox/AP": 41.5, "bbox/AP-disc": 12.0, "segm/AP": None}
    result.write(folder)
    return folder


@pytest.fixture(scope="module")
def task(run, tmp_path_factory):
    """Folder of the run's task file, whose card names a ViT that is not there."""
    cfg = load_config(str(run / "config.yaml"))
    folder = tmp_path_factory.mktemp("task")
    export_task(cfg, str(run / "model_final.pth"), folder)
    path = folder / "task.safetensors"
    with safe_open(path, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}
        text = file.metadata()["bpt_det"].replace(f"{run}/mae.pth", "weights/mae.pth")
    save_file(state, path, {"bpt_det": text})
    return folder


def write_card(path, **changes):
    """Write a task file without weights whose card is changed."""
    card = {"version": 1, "task": "detection", "config": "", "classes": []}
    card |= {"backbone": {}, "settings": {}, **changes}
    save_file({"a": torch.zeros(1)}, path, {"bpt_det": json.dumps(card)})
    return path


def assert_same(actual, expected):
    assert len(actual) == len(expected) > 0
    assert torch.equal(actual.scores, expected.scores)
    assert torch.equal(actual.pred_boxes.tensor, expected.pred_boxes.tensor)
    assert torch.equal(actual.pred_masks, expected.pred_masks)


def test_a_task_file_gives_the_predictions_of_the_run(run, task):
    expected = Predictor.from_run(run, score_threshold=0.05)
    for source in (task, task / "task.safetensors"):
        predictor = Predictor.from_task(source, run / "mae.pth", device="cpu", score_threshold=0.05)
        assert predictor.class_names == NAMES
        assert_same(predictor(IMAGE), expected(IMAGE))


def test_several_tasks_share_one_vit(run, task):
    first = Predictor.from_run(run, score_threshold=0.05)
    second = Predictor.from_task(task, first, score_threshold=0.05)
    assert second.model.backbone.net.prompted_vit.vit is first.model.backbone.net.prompted_vit.vit
    assert_same(second(IMAGE), first(IMAGE))


def test_the_file_holds_what_was_trained_and_nothing_of_the_vit(run, task):
    model = load_trained_model(load_config(str(run / "config.yaml")), str(run / "model_final.pth"))
    with safe_open(task / "task.safetensors", "pt") as file:
        assert set(file.keys()) == set(trained_state(model))
    assert not any(".vit." in name for name in trained_state(model))


def test_the_card_says_what_the_run_was(task):
    card = read_card(task / "task.safetensors")
    sizes = card["backbone"]["sizes"]
    assert sizes == {"embed_dim": 32, "num_blocks": 5, "num_heads": 2, "patch_size": 8}
    assert card["backbone"]["license"] == "CC-BY-NC-4.0"
    assert card["parameters"]["prompts"] == 5 * 3 + 3 * 32
    assert card["metrics"] == {"bbox/AP": 41.5}
    assert card["method"]["prompt"] == "BilinearPrompt" and card["method"]["rank"] == 3
    assert card["classes"] == NAMES
    text = (task / "README.md").read_text()
    fingerprint = next(iter(card["backbone"]["fingerprints"].values()))
    for part in (fingerprint, "41.5", "bpt-det train 'a b'", *NAMES, "license of the backbone"):
        assert part in text


def test_a_task_file_is_a_checkpoint_too(run, task):
    predictor = Predictor(run / "config.yaml", task / "task.safetensors", score_threshold=0.05)
    assert_same(predictor(IMAGE), Predictor.from_run(run, score_threshold=0.05)(IMAGE))


def test_another_vit_is_refused_by_its_fingerprint_with_the_name_of_the_right_one(run, task):
    text = r"another frozen ViT \(.*\); give the weights .* names, 'weights/mae.pth'\.$"
    with pytest.raises(InputError, match=text):
        Predictor.from_task(task, run / "other.pth")
    with pytest.raises(InputError, match="'weights/mae.pth' do not exist"):
        Predictor.from_task(task)
    with pytest.raises(InputError, match="does not hold this ViT"):
        Predictor.from_task(task, "bpt_det:mae_micro_shapes.safetensors")


def test_files_that_are_no_task_are_refused(run, task, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    for path in (run / "model_final.pth", tmp_path / "plain.safetensors", tmp_path / "absent"):
        with pytest.raises(InputError, match=f"'{path}' is no task file; give"):
            Predictor.from_task(path)
    with pytest.raises(InputError, match="task file of detection, not of classification"):
        ImageClassifier.from_task(task)
    path = write_card(tmp_path / "card.safetensors", classes="many")
    with pytest.raises(InputError, match="has a damaged card"):
        Predictor.from_task(path)
    with pytest.raises(InputError, match="of version 7, but this bpt_det reads those up to 1"):
        Predictor.from_task(write_card(path, version=7))


def test_a_card_cannot_name_code(tmp_path):
    config = "model: {roi_heads: {}, vit: {_target_: os.system, command: ls}}"
    path = write_card(tmp_path / "card.safetensors", config=config)
    with pytest.raises(InputError, match="names 'os.system'"):
        Predictor.from_task(path)


def test_a_compact_file_is_as_close_as_its_types(run, tmp_path, monkeypatch):
    monkeypatch.setattr(task_export, "_LARGE", 500)
    cfg = load_config(str(run / "config.yaml"))
    path = export_task(cfg, str(run / "model_final.pth"), tmp_path, compact=True)
    expected = trained_state(load_trained_model(cfg, str(run / "model_final.pth")))
    loaded = trained_state(load_trained_model(cfg, str(path)))
    with safe_open(path, "pt") as file:
        types = {name: file.get_tensor(name).dtype for name in file.keys()}
    assert set(types.values()) == {torch.float16, torch.float8_e4m3fn}
    for name, value in loaded.items():
        tolerance = 1e-3 if types[name] == torch.float16 else 0.05
        assert value.dtype == expected[name].dtype
        error = (value - expected[name]).double().norm()
        assert error <= tolerance * expected[name].double().norm() + 1e-7, name


def test_a_weight_beyond_float16_is_refused_by_name(run, tmp_path):
    content = torch.load(run / "model_final.pth", weights_only=True)
    name = next(name for name in content["model"] if name.endswith("coeff"))
    content["model"][name][0, 0] = 1e6
    torch.save(content, tmp_path / "large.pth")
    cfg = load_config(str(run / "config.yaml"))
    with pytest.raises(InputError, match=f"{name} is too large for float16"):
        export_task(cfg, str(tmp_path / "large.pth"), tmp_path / "task", compact=True)
    assert not (tmp_path / "task").exists()


def test_the_command_writes_it_and_never_over_another_one(run, tmp_path, capsys):
    command = ["--config-file", f"{run}/config.yaml", "--checkpoint", f"{run}/model_final.pth"]
    command += ["--output", f"{tmp_path}/task"]
    assert export_command.main([*command, "--task", "--backbone-license", "MIT"]) == 0
    assert read_card(tmp_path / "task/task.safetensors")["backbone"]["license"] == "MIT"
    before = (tmp_path / "task/task.safetensors").read_bytes()
    capsys.readouterr()
    for arguments, text in (
        (["--task"], "exists; choose another folder"),
        ([], "nothing to export: add --task"),
        (["--onnx", "--push-to-hub", "a/b"], "--push-to-hub uploads a task file; add --task"),
        (["--onnx", "--compact"], "--compact is an option of --task; add that"),
        (["--onnx-pyramid", "--side", "64"], "--side is an option of --onnx; add that"),
    ):
        assert export_command.main([*command, *arguments]) == 2
        error = capsys.readouterr().err
        assert text in error and error.count("\n") == 1
    assert (tmp_path / "task/task.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("location", "license"),
    [
        ("weights/mae_pretrain_vit_base.pth", "CC-BY-NC-4.0"),
        ("timm:vit_base_patch14_dinov2.lvd142m", "apache-2.0"),
        ("bpt_det:mae_micro_shapes.safetensors", "MIT"),
        ("B_16.npz", "Apache-2.0"),
        ("mine.pth", "unknown"),
        ("None", "unknown"),
    ],
)
def test_licenses_of_published_weights_are_known(location, license):
    assert license_of(location) == license


class FakeHub:
    """A hub whose calls take what those of huggingface_hub take."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.files = folder, {}
        for name in ("create_repo", "upload_folder", "snapshot_download"):
            real = inspect.signature(getattr(huggingface_hub, name))

            def call(*args, _real=real, _name=name, **kwargs):
                return getattr(self, _name)(**_real.bind(*args, **kwargs).arguments)

            monkeypatch.setattr(huggingface_hub, name, call)

    def create_repo(self, repo_id, private, exist_ok):
        assert private and exist_ok
        huggingface_hub.utils.validate_repo_id(repo_id)
        self.files.setdefault(repo_id, {})

    def upload_folder(self, repo_id, folder_path, allow_patterns):
        self.files[repo_id] |= {n: (folder_path / n).read_bytes() for n in allow_patterns}
        return f"https://hub/{repo_id}/commit/1"

    def snapshot_download(self, repo_id, revision, allow_patterns):
        if repo_id not in self.files:
            raise OSError("404 Client Error.\nRepository Not Found")
        for name in allow_patterns:
            (self.folder / name).write_bytes(self.files[repo_id][name])
        return str(self.folder)


def test_a_task_goes_through_a_hub(run, task, tmp_path, monkeypatch):
    FakeHub(tmp_path, monkeypatch)
    assert push_to_hub(task, "me/shapes") == "https://hub/me/shapes/commit/1"
    predictor = Predictor.from_hub("me/shapes", run / "mae.pth", score_threshold=0.05)
    assert_same(predictor(IMAGE), Predictor.from_run(run, score_threshold=0.05)(IMAGE))
    with pytest.raises(InputError, match="'me/other' could not be downloaded .*Not Found"):
        Predictor.from_hub("me/other")
    with pytest.raises(InputError, match="is a task file of detection, not of classification"):
        ImageClassifier.from_hub("me/shapes")
    with pytest.raises(InputError, match="could not be uploaded to 'a/b/c'"):
        push_to_hub(task, "a/b/c")
    with pytest.raises(InputError, match="is no task file"):
        push_to_hub(run, "me/shapes")


def test_a_hub_that_is_not_there_is_one_line(task, monkeypatch):
    """By the real library, whose connection error is none of its own kinds."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="could not be uploaded to 'me/shapes'") as error:
        push_to_hub(task, "me/shapes")
    assert "\n" not in str(error.value)
