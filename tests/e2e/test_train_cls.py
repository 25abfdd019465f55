"""Classification from the command line, at a tiny size: train, resume, evaluate, refuse."""

import json
import re
import shutil

import pytest
import torch
from detectron2.config import LazyConfig

from bpt_det.cli import app
from bpt_det.cli.train_cls import main
from bpt_det.config import load_config
from bpt_det.engine import read_result
from bpt_det.engine.metrics import read_records
from tests.support import class_trees
from tests.support.classifiers import shrink_classifier
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def train_cls():
    """Function that runs the tool."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def config(tmp_path_factory, train_cls):
    """A tiny classifier of birds as a YAML file; 27 training images are 3 iterations."""
    cfg = load_config("configs/fgvc/cub.py", ["method=bpt_s"])
    shrink_classifier(cfg, 7)
    cfg.train.update(epochs=1, log_period=1)
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return path


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return class_trees.write_cub(tmp_path_factory.mktemp("data") / "CUB_200_2011")


@pytest.fixture(scope="module")
def trained(train_cls, config, cub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "trained"
    arguments = ["--config-file", config, f"dataloader.root={cub}", f"train.output_dir={folder}"]
    assert train_cls(*arguments) == 0
    return folder


def metrics_of(folder):
    """Everything that ``metrics.json`` says, the last value of each metric."""
    lines = (folder / "metrics.json").read_text().splitlines()
    return {key: value for line in lines for key, value in json.loads(line).items()}


def only_line(status, capsys):
    out, err = capsys.readouterr()
    assert status == 2, out + err
    assert "Traceback" not in out + err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0].removeprefix("error: ")


def test_an_epoch_is_trained_and_evaluated_on_val_and_at_the_end_on_test(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.json", "last_checkpoint", "model_best.pth"} <= names
    final = torch.load(trained / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 2
    metrics = metrics_of(trained)
    for name in ("top1", "top5", "mean_per_class", "loss"):
        assert f"val/{name}" in metrics and f"test/{name}" in metrics
    assert any((trained / "test").iterdir())


def test_the_log_file_has_what_was_found_before_the_folder_was_known(trained):
    log = (trained / "log.txt").read_text()
    assert "1 epochs of 27 images are 3 iterations of 7 images" in log
    assert log.count("cub train has 27 images; Table 6 of the paper's supplementary has 5394") == 1


def test_the_checkpoint_holds_what_was_trained_and_the_names_of_the_classes(trained):
    final = torch.load(trained / "model_final.pth", weights_only=True)
    assert final["model"]["head.weight"].shape == (3, 16)
    assert not any(name.startswith("backbone.vit.") for name in final["model"])
    assert ["002.Laysan", "005.Crested", "011.Rusty"] in final.values()


def test_the_saved_config_evaluates_the_run_by_itself(trained, train_cls, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status = train_cls("--config-file", trained / "config.yaml", "--eval-only", "--resume")
    assert status == 0
    assert (trained / "eval_only/log.txt").is_file()


def test_eval_gives_the_result_of_evaluation_alone(trained, train_cls, tmp_path):
    config, checkpoint = trained / "config.yaml", trained / "model_final.pth"
    only = ["--eval-only", f"train.init_checkpoint={checkpoint}", f"train.output_dir={tmp_path}"]
    assert train_cls("--config-file", config, *only) == 0
    arguments = ["--config-file", str(config), "--checkpoint", str(checkpoint)]
    assert app.main(["eval", *arguments, f"train.output_dir={tmp_path}/b"]) == 0
    expected = read_result(tmp_path / "eval_only").metrics
    assert expected["final"] and read_result(tmp_path / "b/eval_only").metrics == expected


def test_resuming_goes_on_after_the_last_checkpoint(trained, train_cls, config, cub, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "resumed")
    settings = [f"dataloader.root={cub}", "train.epochs=2", f"train.output_dir={folder}"]
    assert train_cls("--config-file", config, "--resume", *settings) == 0
    final = torch.load(folder / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 5
    records, earlier = (list(read_records(run / "metrics.json")) for run in (folder, trained))
    assert [record["iteration"] for record in records] == [*range(6), 6]  # each once
    for before, after in zip(earlier[:3], records, strict=False):
        assert after["total_loss"] == before["total_loss"]


@pytest.mark.parametrize("packed", [False, True])
def test_images_of_ones_own_are_trained_on_from_a_folder_and_a_zip(
    packed, train_cls, config, tmp_path
):
    images = class_trees.write_class_folders(tmp_path / "mine", ("",))
    if packed:
        images = class_trees.zip_tree(images, tmp_path / "mine.zip", "mine")
    folder = tmp_path / "run"
    settings = [f"data=folder:{images}", "train.max_iter=2", f"train.output_dir={folder}"]
    settings.append("dataloader.train.num_workers=1")
    assert train_cls("--config-file", config, *settings) == 0
    metrics = metrics_of(folder)
    assert metrics["val/top1"] == metrics["val_final/top1"]
    assert "test/top1" not in metrics
    assert load_config(str(folder / "config.yaml")).train.epochs is None


@pytest.mark.parametrize("where", ["train", "val"])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_decoded_is_one_line_that_names_it(
    where, num_workers, train_cls, config, tmp_path, capsys
):
    images = class_trees.write_class_folders(tmp_path / "mine", ("train", "val", "test"))
    for path in (images / where).rglob("*.JPEG"):
        path.write_bytes(path.read_bytes()[:50])
    settings = [f"data=folder:{images}", "train.max_iter=2", f"train.output_dir={tmp_path / 'out'}"]
    settings += [f"dataloader.{part}.num_workers={num_workers}" for part in ("train", "test")]
    line = only_line(train_cls("--config-file", config, *settings), capsys)
    assert line.startswith(f"image '{images / where}") and "cannot be read" in line
    # What was trained before an evaluation failed is kept.
    assert (tmp_path / "out/model_final.pth").is_file() == (where == "val")


def remove_split_file(root):
    class_trees.write_split_files(root, {}, {}, {})
    (root / "val.json").unlink()
    for split in ("train", "test"):
        (root / f"{split}.json").write_text('{"002.Laysan/bird_0001.jpg": 2}')


def label_out_of_range(root):
    path = root / "image_class_labels.txt"
    path.write_text(path.read_text().replace("1 2\n", "1 201\n", 1))


def empty_class(root):
    with (root / "classes.txt").open("a") as file:
        file.write("12 012.Missing\n")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (remove_split_file, "val.json' is missing beside the other split files; add it"),
        (label_out_of_range, "gives image 1 the label 201, but classes.txt has 2 to 11"),
        (empty_class, "1 classes of "),
        (shutil.rmtree, "does not exist (nor does 'CUB_200_2011'"),
    ],
)
def test_a_fault_in_a_data_set_is_one_line(
    spoil, expected, train_cls, config, cub, tmp_path, capsys
):
    root = shutil.copytree(cub, tmp_path / "cub")
    spoil(root)
    settings = [f"dataloader.root={root}", f"train.output_dir={tmp_path / 'out'}"]
    assert expected in only_line(train_cls("--config-file", config, *settings), capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.num_classes=7", "model.num_classes=7 contradicts the 3 classes of cub"),
        ("data=nonsense", "unknown dataset 'nonsense'; there are cub, nabirds,"),
        ("data=folder:/no/such", "folder:/no/such: '/no/such' does not exist"),
        (
            "model.pooling=nonsense",
            "pooling must be one of all, prompts, patches, cls, got 'non",
        ),
        ("model.head_batch_norm=often", "head_batch_norm must be True or False, got 'often'"),
        ("train.epochs=0", "train.epochs must be a number > 0, got 0."),
        ("dataloader.fraction=0", "fraction=0 is not a percentage in (0, 100]"),
        ("dataloader.train.dataset.split=dev", "split 'dev' is not one of train, val, test, train"),
        ("dataloader.train.total_batch_size=0", "total_batch_size must be an integer >= 1"),
        ("dataloader.image_size=20", "image_size must be an integer in [1, resize_size="),
    ],
)
def test_a_bad_setting_is_one_line(override, expected, train_cls, config, cub, tmp_path, capsys):
    settings = [f"dataloader.root={cub}", f"train.output_dir={tmp_path / 'out'}", override]
    assert expected in only_line(train_cls("--config-file", config, *settings), capsys)
    assert not (tmp_path / "out/metrics.json").exists()


def test_a_refused_resumption_leaves_the_config_of_the_run(
    trained, train_cls, config, cub, tmp_path, capsys
):
    folder = shutil.copytree(trained, tmp_path / "run")
    before = (folder / "config.yaml").read_text()
    settings = [f"dataloader.root={cub}", f"train.output_dir={folder}", "train.epochs=2"]
    resume = ["--config-file", config, "--resume", *settings]
    line = only_line(train_cls(*resume, "model.backbone.prompt.prompt_length=5"), capsys)
    assert "does not fit this model" in line
    line = only_line(train_cls(*resume, "model.pooling=cls"), capsys)
    assert "was trained with pooling=all, which is cls here" in line
    line = only_line(train_cls(*resume, "model.head_batch_norm=True"), capsys)
    assert "was trained with head_batch_norm=False, which is True here" in line
    assert (folder / "config.yaml").read_text() == before
    assert train_cls(*resume) == 0
    assert load_config(str(folder / "config.yaml")).train.epochs == 2


def test_an_evaluation_warns_of_classes_of_other_names(trained, train_cls, config, cub, tmp_path):
    other = shutil.copytree(cub, tmp_path / "CUB_200_2011")
    names = (other / "classes.txt").read_text()
    (other / "classes.txt").write_text(names.replace("002.Laysan", "002.Sooty"))
    settings = [f"dataloader.root={other}", f"train.output_dir={tmp_path / 'out'}"]
    best = f"train.init_checkpoint={trained / 'model_best.pth'}"
    assert train_cls("--config-file", config, "--eval-only", *settings, best) == 0
    log = (tmp_path / "out/eval_only/log.txt").read_text()
    assert "other class names: '002.Laysan' there is '002.Sooty' here (1 of 3 differ)" in log


def test_the_final_test_can_be_turned_off(train_cls, config, cub, tmp_path):
    settings = [f"dataloader.root={cub}", f"train.output_dir={tmp_path / 'out'}"]
    assert train_cls("--config-file", config, *settings, "dataloader.final_test=null") == 0
    metrics = metrics_of(tmp_path / "out")
    assert "val/top1" in metrics and "test/top1" not in metrics
    assert not (tmp_path / "out/test").exists()
    saved = load_config(str(tmp_path / "out/config.yaml"))
    assert saved.dataloader.final_evaluator is None


def test_a_run_with_a_batch_norm_before_the_head_is_evaluated_as_at_its_end(
    train_cls, config, cub, tmp_path
):
    settings = [f"dataloader.root={cub}", f"train.output_dir={tmp_path}"]
    settings += ["model.head_batch_norm=True", "optimizer.lr=0.1"]
    assert train_cls("--config-file", config, *settings) == 0
    best = tmp_path / "model_best.pth"
    assert torch.load(best, weights_only=True)["model"]["head_norm.running_mean"].any()
    at_its_end = re.findall(r" test: .* loss .*", (tmp_path / "log.txt").read_text())
    settings.append(f"train.init_checkpoint={best}")
    assert train_cls("--config-file", config, "--eval-only", *settings) == 0
    alone = re.findall(r" test: .* loss .*", (tmp_path / "eval_only/log.txt").read_text())
    assert alone == at_its_end and len(alone) == 1
