"""Pre-training from the command line, at a tiny size: train, resume, use the encoder, refuse."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from detectron2.config import LazyConfig

from bpt_det.cli.pretrain import main
from bpt_det.config import load_config
from bpt_det.vit import build_vit
from tests.support.paths import ROOT

LEAVES = [
    "configs/shapes/mae_micro.py",
    "configs/tiny_imagenet/mae_micro.py",
    "configs/tiny_imagenet/mae_tiny.py",
]
SIZES = {"embed_dim": 16, "num_blocks": 2, "num_heads": 2, "patch_size": 8}


@pytest.fixture(scope="module")
def pretrain():
    """Function that runs the tool."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def config(tmp_path_factory, pretrain):
    """A tiny masked autoencoder as a YAML file; 11 training images are 2 iterations."""
    cfg = load_config(LEAVES[0])
    cfg.model.encoder.update(SIZES)
    cfg.model.update(decoder_embed_dim=8, decoder_num_blocks=1, decoder_num_heads=2)
    cfg.dataloader.update(image_size=32, resize_size=32)
    cfg.dataloader.train.update(total_batch_size=5, num_workers=0)
    cfg.dataloader.test.num_workers = 0
    cfg.train.update(epochs=2, eval_epochs=1, log_period=1, device="cpu")
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return path


@pytest.fixture(scope="module")
def arguments(config, shapes_root):
    return ["--config-file", config, f"data={shapes_root}/train"]


@pytest.fixture(scope="module")
def trained(pretrain, arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "trained"
    assert pretrain(*arguments, f"train.output_dir={folder}") == 0
    return folder


def test_a_run_leaves_the_encoder_pictures_and_the_loss_of_held_out_images(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"encoder.pth", "encoder.safetensors", "reconstructions.png", "curves.png"} <= names
    assert {"model_best.pth", "model_final.pth", "config.yaml"} <= names
    lines = [json.loads(line) for line in (trained / "metrics.json").read_text().splitlines()]
    losses = {line["iteration"]: line["val/loss"] for line in lines if "val/loss" in line}
    assert min(losses) == 1  # an epoch is two iterations
    assert 0.5 < losses[max(losses)] < losses[1] < 2


def test_the_encoder_is_what_was_trained_and_a_detector_takes_it(trained):
    vit = build_vit(**SIZES, pretrain_size=32, checkpoint=str(trained / "encoder.pth"))
    final = torch.load(trained / "model_final.pth", weights_only=True)["model"]
    for name, value in vit.state_dict().items():
        assert torch.equal(value, final[f"encoder.{name}"]), name
    start = build_vit(**SIZES, pretrain_size=32).state_dict()
    moved = {
        name for name, value in vit.state_dict().items() if not torch.equal(value, start[name])
    }
    assert moved == set(start) - {"pos_embed"}


def test_resuming_gives_the_same_weights_as_no_interruption(trained, pretrain, arguments, tmp_path):
    folder = tmp_path / "interrupted"
    folder.mkdir()
    shutil.copy(trained / "model_0000001.pth", folder)
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    assert pretrain(*arguments, f"train.output_dir={folder}", "--resume") == 0
    there, here = (
        torch.load(run / "model_final.pth", weights_only=True)["model"] for run in (trained, folder)
    )
    assert all(torch.equal(there[name], here[name]) for name in there)
    encoders = [(run / "encoder.pth").read_bytes() for run in (trained, folder)]
    assert encoders[0] == encoders[1]


def test_a_trained_one_is_evaluated(trained, pretrain, arguments, tmp_path):
    checkpoint = f"train.init_checkpoint={trained}/model_final.pth"
    settings = ["--eval-only", checkpoint, f"train.output_dir={tmp_path}"]
    assert pretrain(*arguments, *settings) == 0
    assert (tmp_path / "eval_only/reconstructions.png").is_file()


def test_a_folder_that_holds_a_run_is_not_written_over(trained, pretrain, arguments, capsys):
    before = (trained / "encoder.pth").read_bytes()
    assert pretrain(*arguments, f"train.output_dir={trained}") == 2
    assert "already holds a run" in only_line(capsys)
    assert (trained / "encoder.pth").read_bytes() == before


def only_line(capsys):
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["data=nowhere"], "nowhere' does not exist; correct the path"),
        (["data=2019"], "2019' does not exist; correct the path"),
        (["data.train="], "data.train= names no images; give a folder"),
        (["data.train=2019"], "2019' does not exist; correct the path"),
        (["model.mask_ratio=1.5"], "mask_ratio must be in (0, 1)"),
        (["train.epochs=0"], "train.epochs must be a number > 0, got 0"),
        (["dataloader.train.mapper.min_area=2"], "min_area must be in (0, 1], got 2"),
        (
            ["dataloader.image_size=24"],
            "Config key: model.encoder.pretrain_size",
        ),
        (["model.mask_rate=1"], "did you mean 'model.mask_ratio'"),
    ],
)
def test_bad_input_is_one_line(settings, text, pretrain, arguments, tmp_path, capsys):
    if settings[0].startswith("data."):  # a data=FOLDER of before would be in its way
        arguments = arguments[:2]
    if settings == ["dataloader.image_size=24"]:
        settings = [*settings, "model.encoder.pretrain_size=32"]
    assert pretrain(*arguments, f"train.output_dir={tmp_path}/run", *settings) == 2
    assert text in only_line(capsys)


def test_a_config_of_another_task_is_refused(pretrain, capsys):
    assert pretrain("--config-file", "configs/coco/cascade_bpt_s.py") == 2
    assert "lacks model.encoder or data.train" in only_line(capsys)


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_saves_as_yaml_takes_overrides_and_names_its_command(leaf, tmp_path):
    cfg = load_config(leaf, ["model.mask_ratio=0.5"])
    assert set(cfg) == {"data", "dataloader", "lr_multiplier", "model", "optimizer", "train"}
    paths = [str(tmp_path / name) for name in ("config.yaml", "again.yaml")]
    LazyConfig.save(cfg, paths[0])
    LazyConfig.save(load_config(paths[0]), paths[1])
    assert Path(paths[0]).read_text() == Path(paths[1]).read_text()
    assert load_config(paths[1]).model.mask_ratio == 0.5
    text = (ROOT / leaf).read_text()
    assert f"Run:    python tools/pretrain_mae.py --config-file {leaf}" in text
    assert len(text.splitlines()) <= 40
    assert cfg.train.output_dir == f"output/{leaf[8:-3]}"


def test_the_common_config_is_the_published_recipe():
    """arXiv:2111.06377, Table 8, and the sizes of the decoder in its section 4.1."""
    cfg = LazyConfig.load("configs/common/pretraining.py")
    model, optimizer = cfg.model, cfg.optimizer
    assert (model.decoder_embed_dim, model.decoder_num_blocks) == (512, 8)
    assert (model.mask_ratio, model.normalize_targets) == (0.75, True)
    assert (optimizer.lr, list(optimizer.betas), optimizer.weight_decay) == (
        *(1.5e-4, [0.9, 0.95], 0.05),
    )
    assert cfg.dataloader.train.total_batch_size == 4096 and cfg.train.reference_batch_size == 256
    assert (cfg.train.epochs, cfg.lr_multiplier.warmup * cfg.train.epochs) == (1600, 40)
