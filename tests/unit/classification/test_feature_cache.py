"""Feature cache: a classifier computes the same from it as from images, but for the rounding."""

import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

import bpt_det.classification.mapper as mapper_module
from bpt_det.classification import feature_cache
from bpt_det.classification.feature_cache import FeatureCache
from bpt_det.classification.in_memory_loader import InMemoryLoader
from bpt_det.classification.mapper import ClassificationMapper
from bpt_det.utils.errors import InputError
from tests.support.feature_caches import (
    EMBED_DIM,
    NUM_TOKENS,
    NUM_VIEWS,
    all_samples,
    all_tokens,
    classifier,
    filled_mapper,
    loader_of,
    rounded_tokens,
    write_records,
)

PLACEMENTS = [
    {"placement": "last_2"},
    {"placement": [1, 3]},
    {"placement": "last_1"},
    {"prompted": False},
    {"placement": "last_1", "tuned": [2, 3]},
    {"prompted": False, "tuned": "last_2"},
]


SIZE = 5 * 3 * 37 * 12 * 2  # bytes


@pytest.fixture
def records(tmp_path):
    return write_records(tmp_path)


@pytest.fixture
def plain():
    return ClassificationMapper(24, 32, num_views=NUM_VIEWS)


@pytest.mark.parametrize("settings", PLACEMENTS)
def test_the_logits_are_those_of_the_tokens_rounded_to_bfloat16(settings, records, plain):
    model = classifier(**settings)
    images = all_samples(plain, records)
    with torch.no_grad():
        expected = model.classify(model.backbone.finish(rounded_tokens(model, images).float()))
        logits = model(all_samples(filled_mapper(model, records), records))
    assert torch.equal(torch.stack([row["logits"] for row in logits]), expected)


@pytest.mark.parametrize("settings", PLACEMENTS)
def test_the_logits_are_close_to_those_of_the_images(settings, records, plain):
    model = classifier(**settings)
    with torch.no_grad():
        expected = model(all_samples(plain, records))
        logits = model(all_samples(filled_mapper(model, records), records))
    for row, other in zip(logits, expected, strict=True):
        torch.testing.assert_close(row["logits"], other["logits"], rtol=0, atol=2e-2)


def test_a_sample_shows_the_view_that_it_would_show_without_the_cache(records, plain):
    model = classifier()
    mapper = filled_mapper(model, records)
    tokens = rounded_tokens(model, all_samples(plain, records)).view(-1, NUM_VIEWS, NUM_TOKENS, 12)
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        image, state = plain(records[2])["image"], torch.get_rng_state()
        torch.manual_seed(seed)
        sample = mapper(records[2])
        assert torch.equal(torch.get_rng_state(), state)
        views = [plain.make_view(records[2], view)["image"] for view in range(NUM_VIEWS)]
        view = [torch.equal(image, other) for other in views].index(True)
        assert torch.equal(sample["tokens"], tokens[2, view])
        seen.add(view)
    assert seen == set(range(NUM_VIEWS))


def test_without_augmentation_there_is_one_view(records):
    model = classifier()
    images = [ClassificationMapper(24, 32, augment=False)(record) for record in records]
    mapper = filled_mapper(model, records, num_views=None, augment=False)
    tokens = torch.stack([mapper(record)["tokens"] for record in records])
    assert torch.equal(tokens, rounded_tokens(model, images))


def test_a_sample_keeps_the_entries_of_its_record_and_no_image_is_read(records, monkeypatch):
    mapper = filled_mapper(classifier(), records)
    monkeypatch.setattr(mapper_module, "read_rgb", lambda *_: pytest.fail("read"))
    sample = mapper(records[3])
    assert {**sample, "tokens": None} == {**records[3], "tokens": None}
    assert sample["tokens"].shape == (NUM_TOKENS, EMBED_DIM)
    assert sample["tokens"].dtype == torch.bfloat16


def test_the_gradient_of_prompts_and_head_is_that_of_the_rounded_tokens(records, plain):
    model = classifier().train()
    tokens = rounded_tokens(model, all_samples(plain, records)).float()
    samples = all_samples(filled_mapper(model, records), records)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    labels = torch.tensor([sample["label"] for sample in samples])
    logits = model.classify(model.backbone.finish(tokens))
    expected = torch.autograd.grad(F.cross_entropy(logits, labels), list(trained.values()))
    with EventStorage(0):
        model(samples)["loss_ce"].backward()
    assert any(name.startswith("backbone.prompts.3.") for name in trained)
    for (name, parameter), gradient in zip(trained.items(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient), name


def test_memory_and_file_hold_the_same_whatever_loads_the_images(records, tmp_path):
    model = classifier()
    tokens = all_tokens(filled_mapper(model, records), records)
    for num_workers in (0, 1):
        folder = tmp_path / f"cache_{num_workers}"
        mapper = filled_mapper(model, records, folder, num_workers=num_workers)
        assert torch.equal(all_tokens(mapper, records), tokens)


@pytest.mark.parametrize("is_in_file", [False, True])
def test_a_sample_does_not_drag_the_whole_cache_along(is_in_file, records, tmp_path):
    """A loading process would copy all of the memory that a tensor is a view of."""
    mapper = filled_mapper(classifier(), records, tmp_path / "cache" if is_in_file else None)
    storage = mapper(records[0])["tokens"].untyped_storage()
    assert storage.nbytes() == NUM_TOKENS * EMBED_DIM * 2


def test_more_images_than_a_batch_stay_in_their_order(tmp_path, plain):
    records = write_records(tmp_path, 13)  # 39 views, in batches of 32
    model = classifier()
    tokens = all_tokens(filled_mapper(model, records), records).float()
    expected = rounded_tokens(model, all_samples(plain, records)).float()
    torch.testing.assert_close(tokens, expected, rtol=2**-7, atol=1e-4)  # another batch size


def test_an_image_that_is_listed_twice_is_kept_once(records, caplog):
    caplog.set_level("INFO")
    mapper = filled_mapper(classifier(), [*records, records[1]])
    assert "Feature cache: 5 images x 3 views" in caplog.text
    assert torch.equal(*(all_tokens(mapper, [record]) for record in (records[1], records[1])))


def test_filling_leaves_the_random_generator_and_the_modes_as_they_were(records):
    model = classifier().train()
    modes = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    filled_mapper(model, records)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes


def test_autocast_around_the_filling_does_not_change_the_tokens(records, plain):
    model = classifier()
    with torch.autocast("cpu", torch.bfloat16):
        mapper = filled_mapper(model, records)
    expected = rounded_tokens(model, all_samples(plain, records))
    assert torch.equal(all_tokens(mapper, records), expected)


def test_a_model_wrapped_for_several_processes_is_looked_into(records):
    wrapped = torch.nn.Module()
    wrapped.module = classifier()
    tokens = all_tokens(filled_mapper(wrapped, records), records)
    assert torch.equal(tokens, all_tokens(filled_mapper(wrapped.module, records), records))


def test_the_size_and_the_place_are_announced_before_an_image_is_read(records, caplog, monkeypatch):
    def read(_):
        assert caplog.messages[-1] == (
            "Feature cache: 5 images x 3 views x 37 tokens x 12 x 2 bytes = 1.33e-05 GB, in memory"
        )
        raise KeyboardInterrupt

    caplog.set_level("INFO")
    monkeypatch.setattr(mapper_module, "read_rgb", read)
    with pytest.raises(KeyboardInterrupt):
        filled_mapper(classifier(), records)


def test_without_cache_prefix_nothing_changes(records):
    loader = loader_of(records)
    FeatureCache(False).fill(classifier("shallow"), [loader])
    assert loader.mapper.features is None


def test_the_loaders_of_a_run_have_features_of_their_own(records, plain):
    model = classifier()
    train = loader_of(records)
    test = loader_of(records[3:], num_views=None, augment=False)
    FeatureCache(True).fill(model, [test, train])
    assert torch.equal(
        all_tokens(train.mapper, records), rounded_tokens(model, all_samples(plain, records))
    )
    images = [ClassificationMapper(24, 32, augment=False)(record) for record in records[3:]]
    assert torch.equal(all_tokens(test.mapper, records[3:], 1), rounded_tokens(model, images))


# What cannot be cached is refused in one line before an image is read.


@pytest.fixture
def refuse(records, monkeypatch):
    """Returns a function that fills a cache and returns the error."""

    def refuse(model, loaders, folder=None):
        loaders = loaders if isinstance(loaders, list) else [loaders]
        monkeypatch.setattr(mapper_module, "read_rgb", lambda *_: pytest.fail("read"))
        with pytest.raises(InputError) as caught:
            FeatureCache(True, folder).fill(model, loaders)
        assert "\n" not in str(caught.value)
        return caught.value

    return refuse


@pytest.mark.parametrize(
    ("placement", "blocks"),
    [("shallow", "0"), ([0, 2], "0, 2"), ("all", "0, 1, 2, 3 and 1 more")],
)
def test_prompts_in_the_first_block_are_refused(placement, blocks, records, refuse):
    error = refuse(classifier(placement), [loader_of(records)])
    assert f"prompts block {blocks}, so there is nothing before it" in str(error)
    assert "last_4 or [6,9]" in str(error) and error.parameter == "placement"


def test_tuning_in_the_first_block_is_refused(records, refuse):
    error = refuse(classifier("last_2", tuned=[0, 3]), [loader_of(records)])
    assert "tunes block 0, 3, so there is nothing before it" in str(error)


def test_a_trained_vit_is_refused(records, refuse):
    error = refuse(classifier(frozen=False), loader_of(records))
    assert "frozen=False trains it" in str(error) and error.parameter == "frozen"


def test_endlessly_many_views_are_refused_in_the_second_loader_too(records, refuse):
    loaders = [loader_of(records), loader_of(records, num_views=None)]
    error = refuse(classifier(), loaders)
    assert "num_views=null draws new ones each time" in str(error)
    assert error.parameter == "num_views"


def test_images_kept_in_memory_are_refused(records, refuse):
    error = refuse(classifier(), InMemoryLoader(records, ClassificationMapper(24, 32), 2))
    assert (
        "in_memory=True draws new crops each time" in str(error) and error.parameter == "in_memory"
    )


def test_several_processes_without_a_folder_are_refused(records, refuse, monkeypatch):
    loader = loader_of(records)
    monkeypatch.setattr(comm, "get_world_size", lambda: 3)
    error = refuse(classifier(), loader)
    assert "each of the 3 processes; give cache_dir" in str(error)
    assert error.parameter == "cache_dir"


@pytest.mark.parametrize("available", [0, SIZE, int(SIZE / 0.9) - 1])
def test_too_little_memory_is_refused_with_both_sizes(available, records, refuse, monkeypatch):
    monkeypatch.setattr(feature_cache, "available_memory", lambda: available)
    error = refuse(classifier(), loader_of(records))
    assert f"needs {SIZE / 1e9:.3g} GB of memory, but {available / 1e9:.3g} GB" in str(error)
    assert "it may take 90%; give cache_dir" in str(error) and error.parameter == "cache_dir"


@pytest.mark.parametrize("available", [int(SIZE / 0.9) + 1, None])
def test_enough_memory_or_unknown_memory_is_not_refused(available, records, monkeypatch):
    monkeypatch.setattr(feature_cache, "available_memory", lambda: available)
    filled_mapper(classifier(), records)


def test_memory_that_another_loader_has_taken_meanwhile_is_refused(records, monkeypatch):
    available = iter([2 * SIZE, 2 * SIZE, 2 * SIZE, SIZE])  # planned twice, filled, filled
    monkeypatch.setattr(feature_cache, "available_memory", lambda: next(available))
    loaders = [loader_of(records), loader_of(records)]
    with pytest.raises(InputError, match="the feature cache needs .* of memory, but"):
        FeatureCache(True).fill(classifier(), loaders)
    assert loaders[0].mapper.features is not None and loaders[1].mapper.features is None


def test_too_little_disk_space_is_refused_with_both_sizes(records, refuse, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9000))
    error = refuse(classifier(), loader_of(records), folder)
    assert f"needs 1.33e-05 GB of disk space, but 9e-06 GB are free in '{folder}'" in str(error)
    assert error.parameter == "cache_dir" and not list(folder.glob("*.npy"))


def test_a_folder_that_cannot_be_made_is_refused(records, refuse, tmp_path):
    (tmp_path / "file").touch()
    error = refuse(classifier(), loader_of(records), tmp_path / "file/cache")
    assert f"cannot write to '{tmp_path / 'file/cache'}' (" in str(error)
    assert error.parameter == "cache_dir"


def test_a_cache_prefix_that_is_no_bool_is_refused():
    with pytest.raises(InputError, match="cache_prefix must be True or False, got 'off'"):
        FeatureCache("off")


def test_a_folder_without_cache_prefix_is_reported(records, tmp_path, caplog):
    FeatureCache(False, tmp_path / "cache").fill(classifier(), [loader_of(records)])
    assert caplog.messages[-1] == "cache_dir is not used, as cache_prefix=False"
    assert not (tmp_path / "cache").exists()
