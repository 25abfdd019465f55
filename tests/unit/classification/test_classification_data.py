"""Custom data of classification: what a config becomes by the dataset that it names."""

import logging

import pytest
from detectron2.config import LazyConfig
from omegaconf import OmegaConf

from bpt_det.classification.classification_data import use_classification_data
from bpt_det.classification.layouts import load_classification, reading
from bpt_det.config import apply_overrides, load_config
from bpt_det.utils.errors import InputError
from tests.support import class_trees
from tests.support.class_trees import TEST_SIZES, TRAIN_SIZES

NUM_TRAIN = sum(TRAIN_SIZES) - 3  # of which a tenth is held out


def split_of(name):
    return {"name": "${data.name}", "root": "${dataloader.root}", "split": name}


def new_config(data, root=None, **settings):
    train = {"epochs": 10, "eval_epochs": 2, "max_iter": 999, "eval_period": 998, "seed": 0}
    train |= {"output_dir": "out", "checkpointer": {"period": 997}, "accumulate_steps": 1}
    return OmegaConf.create(
        {
            "data": {"name": data},
            "model": {"num_classes": 200},
            "dataloader": {
                "root": None if root is None else str(root),
                "fraction": 100,
                "train": {
                    "dataset": {**split_of("train"), "fraction": "${dataloader.fraction}"},
                    "total_batch_size": 4,
                },
                "test": {"dataset": split_of("val")},
                "final_test": {"dataset": split_of("test")},
                "final_evaluator": {"task": "test", "output_dir": "${train.output_dir}/test"},
            },
            "train": {**train, **settings},
        }
    )


def fit(cfg, *overrides):
    """Do what `load_config` does with a loaded config."""
    apply_overrides(cfg, overrides)
    use_classification_data(cfg, overrides)
    return cfg


def periods(cfg):
    return cfg.train.max_iter, cfg.train.eval_period, cfg.train.checkpointer.period


@pytest.fixture
def cub(tmp_path):
    return class_trees.write_cub(tmp_path / "cub")


@pytest.fixture
def own(tmp_path):
    return class_trees.write_class_folders(tmp_path / "own", ("",))


def test_the_number_of_classes_is_that_of_the_data(cub):
    assert fit(new_config("cub", cub)).model.num_classes == 3


def test_epochs_become_iterations_of_the_images_there_are(cub):
    cfg = fit(new_config("cub", cub))
    assert NUM_TRAIN == 27
    assert periods(cfg) == (60, 12, 12)  # 10 and 2 times 6 whole batches of 4
    assert cfg.train.epochs == 10


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.accumulate_steps=2", (30, 6, 6)),
        ("dataloader.train.total_batch_size=27", (10, 2, 2)),
        ("dataloader.fraction=30", (25, 5, 5)),  # 1 + 3 + 5 of 3 + 9 + 15 images, or near it
        ("dataloader.train.dataset.split=trainval", (70, 14, 14)),
        ("train.epochs=0.5", (3, 12, 12)),
        ("train.epochs=1e-9", (1, 12, 12)),
        ("train.eval_epochs=1e-9", (60, 1, 1)),
    ],
)
def test_iterations_follow_what_an_epoch_is(cub, override, expected):
    cfg = fit(new_config("cub", cub), override)
    if "fraction" in override:
        num_images = len(load_classification("cub", cub, "train", fraction=30))
        expected = (10 * (num_images // 4), *[2 * (num_images // 4)] * 2)
    assert periods(cfg) == expected


@pytest.mark.parametrize(
    ("overrides", "expected", "epochs"),
    [
        (["train.max_iter=5"], (5, 12, 12), (None, 2)),
        (["train.eval_period=3"], (60, 3, 12), (10, None)),
        (["train.checkpointer.period=6"], (60, 12, 6), (10, None)),
        (["train.max_iter=5", "train.eval_period=0"], (5, 0, 12), (None, None)),
    ],
)
def test_what_a_user_gives_in_iterations_stays_in_a_saved_config_too(
    cub, tmp_path, overrides, expected, epochs
):
    cfg = fit(new_config("cub", cub), *overrides)
    assert periods(cfg) == expected
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    again = fit(LazyConfig.load(str(tmp_path / "config.yaml")))
    assert periods(again) == expected
    assert (again.train.epochs, again.train.eval_epochs) == epochs


def test_a_saved_config_stays_as_it_is_and_follows_other_settings(cub, tmp_path):
    cfg = fit(new_config("cub", cub))
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    again = fit(LazyConfig.load(str(tmp_path / "config.yaml")))
    assert OmegaConf.to_container(again) == OmegaConf.to_container(cfg)
    fit(again, "dataloader.train.total_batch_size=9")
    assert periods(again) == (30, 6, 6)


def test_a_dataset_smaller_than_a_batch_has_one_iteration_an_epoch(cub):
    assert periods(fit(new_config("cub", cub), "train.accumulate_steps=9")) == (10, 2, 2)


def test_a_config_without_a_final_test_is_left_so(cub):
    cfg = new_config("cub", cub)
    cfg.dataloader.final_test = None
    assert fit(cfg).dataloader.final_test is None


def test_a_config_without_epochs_keeps_its_iterations(cub):
    cfg = new_config("cub", cub)
    del cfg.train["epochs"], cfg.train["eval_epochs"]
    assert periods(fit(cfg)) == (999, 998, 997)


def test_the_log_says_how_many_iterations_the_epochs_are(cub, caplog):
    with caplog.at_level(logging.DEBUG):
        fit(new_config("cub", cub))
    assert "10 epochs of 27 images are 60 iterations of 4 images" in caplog.text


@pytest.mark.parametrize("given", ["epochs", "eval_epochs"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "true", "inf", "nan"])
def test_a_number_of_epochs_that_is_none_is_refused(cub, given, value):
    with pytest.raises(InputError, match=rf"train\.{given} must be a number > 0, got .+\.$"):
        fit(new_config("cub", cub), f"train.{given}={value}")


@pytest.mark.parametrize(
    ("in_epochs", "in_iterations"),
    [
        ("epochs", "max_iter"),
        ("eval_epochs", "eval_period"),
        ("eval_epochs", "checkpointer.period"),
    ],
)
def test_epochs_and_iterations_at_once_are_refused(cub, in_epochs, in_iterations):
    with pytest.raises(
        InputError, match=rf"train\.{in_epochs} and train\.{in_iterations} are both"
    ):
        fit(new_config("cub", cub), f"train.{in_epochs}=5", f"train.{in_iterations}=6")


def test_a_contradicting_number_of_classes_is_refused(cub):
    match = r"model\.num_classes=7 contradicts the 3 classes of cub \(002\.Laysan, .*; leave model"
    with pytest.raises(InputError, match=match):
        fit(new_config("cub", cub), "model.num_classes=7")
    assert fit(new_config("cub", cub), "model.num_classes=3").model.num_classes == 3


@pytest.mark.parametrize(("batch_size", "expected"), [(28, True), (27, False)])
def test_a_batch_larger_than_the_dataset_is_warned_of(cub, caplog, batch_size, expected):
    cfg = fit(new_config("cub", cub), f"dataloader.train.total_batch_size={batch_size}")
    text = f"total_batch_size={batch_size} is more than the 27 training images of cub: a batch"
    assert (text in caplog.text) == expected
    assert cfg.dataloader.train.total_batch_size == batch_size


@pytest.mark.parametrize("key", ["dataloader.train.total_batch_size", "train.accumulate_steps"])
@pytest.mark.parametrize("value", ["0", "1.5", "null"])
def test_a_batch_of_no_size_is_refused(cub, key, value):
    with pytest.raises(InputError, match=rf"{key} must be an integer >= 1, got .+\.$"):
        fit(new_config("cub", cub), f"{key}={value}")


def test_paths_are_made_absolute(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = fit(new_config("folder:own", "./cub"))
    assert (cfg.data.name, cfg.dataloader.root) == (f"folder:{own}", str(tmp_path / "cub"))
    assert cfg.dataloader.train.dataset.name == f"folder:{own}"


def test_the_default_root_is_left_to_the_environment(cub, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(cub))
    assert fit(new_config("cub")).dataloader.root is None


def test_the_final_evaluation_reads_the_test_images(cub):
    final = fit(new_config("cub", cub)).dataloader
    assert (final.final_test.dataset.split, final.final_evaluator.task) == ("test", "test")
    assert final.final_evaluator.output_dir == "out/test"


def test_without_test_images_the_final_evaluation_reads_val_under_a_name_of_its_own(own, caplog):
    with caplog.at_level(logging.INFO):
        final = fit(new_config(f"folder:{own}")).dataloader
    assert (final.final_test.dataset.split, final.final_evaluator.task) == ("val", "val_final")
    assert final.final_evaluator.output_dir == "out/val_final"
    assert "The final evaluation reads the val images" in caplog.text


def test_a_saved_config_goes_on_to_data_with_test_images(own, cub, tmp_path):
    cfg = fit(new_config(f"folder:{own}", cub))
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    again = fit(LazyConfig.load(str(tmp_path / "config.yaml")), "data=cub", "train.output_dir=b")
    final = again.dataloader
    assert (final.final_test.dataset.split, final.final_evaluator.task) == ("test", "test")
    assert final.final_evaluator.output_dir == "b/test"


def test_an_output_folder_that_a_user_chose_for_the_final_evaluation_stays(own):
    setting = "dataloader.final_evaluator.output_dir=mine"
    final = fit(new_config(f"folder:{own}"), setting).dataloader
    assert (final.final_evaluator.task, final.final_evaluator.output_dir) == ("val_final", "mine")


def test_a_split_that_a_user_chose_for_the_final_evaluation_stays(cub):
    final = fit(new_config("cub", cub), "dataloader.final_test.dataset.split=val").dataloader
    assert (final.final_test.dataset.split, final.final_evaluator.task) == ("val", "test")


def test_a_config_without_a_final_evaluation_is_fine(own):
    cfg = new_config(f"folder:{own}")
    del cfg.dataloader["final_test"], cfg.dataloader["final_evaluator"]
    assert "final_test" not in fit(cfg).dataloader


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("dataloader.train.dataset.split=trainval", "trained on the validation images too"),
        ("dataloader.train.dataset.split=val", "split=val: the model is trained on the validation"),
        ("dataloader.test.dataset.split=test", "model_best.pth is chosen on the test images"),
        ("dataloader.fraction=30", None),
    ],
)
def test_numbers_that_would_mean_nothing_are_warned_of(cub, caplog, override, expected):
    fit(new_config("cub", cub), override)
    warnings = [
        r.getMessage()
        for r in caplog.records
        if r.levelname == "WARNING"
        and "Table 6" not in r.getMessage()
        and "more than the 3" not in r.getMessage()
    ]
    assert len(warnings) == (expected is not None)
    assert not expected or expected in warnings[0]


@pytest.mark.parametrize("key", ["data", "data.name"])
def test_the_dataset_may_be_named_in_short(own, cub, key):
    cfg = fit(new_config("cub", cub), f"{key}=folder:{own}")
    assert cfg.data == {"name": f"folder:{own}"}
    assert cfg.dataloader.test.dataset.name == f"folder:{own}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("cubs", "unknown dataset 'cubs'; did you mean cub"),
        ("folder:/no/such", "'/no/such' does not exist"),
        ("null", "unknown dataset 'null'"),
        ("5", "unknown dataset '5'"),
    ],
)
def test_data_that_are_none_are_refused(data, expected):
    with pytest.raises(InputError, match=expected):
        fit(new_config("cub"), f"data={data}")


def test_a_detection_config_is_refused_with_the_kind_of_command_for_it(
    repository_root, monkeypatch
):
    monkeypatch.chdir(repository_root)
    with pytest.raises(InputError, match="names no classification dataset") as info:
        load_config("configs/shapes/cascade_bpt_s.py", adapt=use_classification_data)
    assert info.value.hint == "train_detector"


def test_all_loaders_share_one_reading_of_the_dataset(cub, monkeypatch):
    cfg = new_config("cub", cub)
    cfg.dataloader.fraction = 50
    splits = use_classification_data(cfg)
    monkeypatch.setattr(reading, "read_dataset", lambda *_: pytest.fail("read again"))
    expected = {"train": NUM_TRAIN // 2, "test": 3, "final_test": sum(TEST_SIZES)}
    assert {key: len(load()) for key, load in splits.items()} == expected
    assert splits["test"]().class_names == splits["train"]().class_names


def test_a_loader_of_another_dataset_is_left_to_its_config(cub, own):
    cfg = new_config("cub", cub)
    cfg.dataloader.test.dataset.name = f"folder:{own}"
    assert set(use_classification_data(cfg)) == {"train", "final_test"}


def test_training_on_the_test_images_is_refused(cub):
    with pytest.raises(InputError, match="split=test would train on the test images; set it to tr"):
        fit(new_config("cub", cub), "dataloader.train.dataset.split=test")
