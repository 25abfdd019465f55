import dataclasses
import logging

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from bpt_det.prompts import BilinearPrompt, FreePrompt, WhitenedPrompt, Whitening
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT, collect_statistics, fingerprint
from bpt_det.vit.statistics import check_statistics, load_statistics, save_statistics
from tests.support.hostile_weights import FILES
from tests.support.vits import TINY_SIZES, tiny_vit

WIDTH, NUM_BLOCKS = TINY_SIZES["embed_dim"], TINY_SIZES["num_blocks"]
SECOND_MOMENTS = dict.fromkeys(range(NUM_BLOCKS), "second_moment")


@pytest.fixture(scope="module")
def vit():
    return tiny_vit()


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 3, 16, 20, generator=generator, dtype=torch.float64)


def tokens_entering(vit, block, images):
    """What timm's own forward pass hands to a block, (B, 1 + N, D)."""
    seen = []
    handle = vit.blocks[block].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        vit.forward_features(images)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("index", [0, 3, NUM_BLOCKS - 1])
def test_the_second_moment_is_of_all_tokens_times_the_query_key_product(vit, images, index):
    """An independent writing: q = x Wq + b, so (q(x) - q(0)) · (k(y) - k(0)) = x M yᵀ."""
    statistics = collect_statistics(vit, [images], {index: "second_moment"}).blocks[index]
    tokens = vit.blocks[index].norm1(tokens_entering(vit, index, images)).reshape(-1, WIDTH)
    qkv = vit.blocks[index].attn.qkv
    query, key, _ = (qkv(tokens) - qkv.bias).chunk(3, dim=-1)
    of_axes, _, _ = (qkv(torch.eye(WIDTH, dtype=torch.float64)) - qkv.bias).chunk(3, dim=-1)
    expected = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    for token_key in key:
        column = of_axes @ token_key  # M xᵀ: the product of each axis, as a prompt, with the token
        expected += torch.outer(column, column)
    assert query.shape == key.shape
    torch.testing.assert_close(statistics.second_moment, expected / len(tokens))
    assert statistics.num_tokens == 8 * (1 + 4 * 5) == len(tokens)


def test_one_pass_over_8_images_and_four_over_2_give_the_same(vit, images):
    at_once = collect_statistics(vit, [images], SECOND_MOMENTS)
    streamed = collect_statistics(vit, images.split(2), SECOND_MOMENTS)
    assert at_once.num_images == streamed.num_images == 8
    for index in range(NUM_BLOCKS):
        torch.testing.assert_close(
            at_once.blocks[index].second_moment, streamed.blocks[index].second_moment
        )
        assert at_once.blocks[index].token_rms == pytest.approx(streamed.blocks[index].token_rms)


def test_whitening_the_collected_second_moment_gives_the_identity(vit, images):
    statistics = collect_statistics(vit, [images], {2: "second_moment"}).blocks[2]
    matrix = Whitening(eps=1e-14, scale="none").matrix(statistics)
    whitened = matrix @ statistics.second_moment @ matrix.T
    torch.testing.assert_close(whitened, torch.eye(WIDTH).double(), rtol=0, atol=1e-6)


def test_tokens_are_the_patches_of_the_first_images_as_they_enter_the_block(vit, images):
    needed = {0: "tokens", 4: "tokens"}
    statistics = collect_statistics(vit, images.split(2), needed, num_token_images=3)
    for index in needed:
        expected = tokens_entering(vit, index, images)[:3, 1:].float()
        torch.testing.assert_close(statistics.blocks[index].tokens, expected)
        assert statistics.blocks[index].second_moment is None


def test_the_root_mean_square_is_of_all_tokens_that_enter(vit, images):
    statistics = collect_statistics(vit, images.split(3), {3: "second_moment"})
    expected = tokens_entering(vit, 3, images).square().mean().sqrt().item()
    assert statistics.blocks[3].token_rms == pytest.approx(expected)


def test_blocks_after_the_last_one_needed_do_not_run(vit, images):
    class Refuses(torch.nn.Module):
        def forward(self, tokens):
            raise AssertionError("this block was not needed")

    blocks = vit.blocks
    vit.blocks = torch.nn.Sequential(*blocks[:2], blocks[2], Refuses(), Refuses())
    try:
        collect_statistics(vit, [images], {2: "tokens"})
    finally:
        vit.blocks = blocks


def test_collecting_costs_at_most_a_fifth_more_than_the_forward_pass(vit, images):
    """In multiplications; those beyond the forward pass count twice, as they are in float64."""
    batches = [images] * 20
    with FlopCounterMode(display=False) as bare, torch.no_grad():
        for batch in batches:
            vit.forward_features(batch)
    with FlopCounterMode(display=False) as collecting:
        collect_statistics(vit, batches, SECOND_MOMENTS)
    more = collecting.get_total_flops() - bare.get_total_flops() * (NUM_BLOCKS - 1) / NUM_BLOCKS
    assert 0 < 2 * more <= 0.2 * bare.get_total_flops()


def test_no_images_are_refused(vit):
    with pytest.raises(InputError, match="no images to collect statistics from"):
        collect_statistics(vit, [], SECOND_MOMENTS)


@pytest.fixture(scope="module")
def saved(vit, images, tmp_path_factory):
    needed = {0: "second_moment", 1: "tokens"}
    statistics = collect_statistics(vit, [images], needed, preprocessing={"image_size": 20})
    path = tmp_path_factory.mktemp("statistics") / "new/tiny.safetensors"
    save_statistics(statistics, path)
    return statistics, path


def test_a_file_holds_everything_that_was_collected(saved, vit):
    statistics, path = saved
    again = load_statistics(path)
    assert again.source == str(path)
    described = [dataclasses.replace(s, blocks={}, source="") for s in (again, statistics)]
    assert described[0] == described[1]
    assert again.fingerprint == fingerprint(vit) and again.preprocessing == {"image_size": 20}
    for index, block in statistics.blocks.items():
        for name, value in vars(block).items():
            stored = getattr(again.blocks[index], name)
            assert (
                torch.equal(stored, value) if isinstance(value, torch.Tensor) else stored == value
            )
    assert [file.name for file in path.parent.iterdir()] == ["tiny.safetensors"]


def test_statistics_are_refused_with_another_vit(saved):
    statistics, path = saved
    other = tiny_vit()
    other.blocks[0].norm1.weight.data[0] += 1e-3
    with pytest.raises(InputError) as refused:
        check_statistics(load_statistics(path), other, {0: "second_moment"})
    text = str(refused.value)
    for fact in (path, statistics.fingerprint[:12], fingerprint(other)[:12]):
        assert str(fact) in text
    assert refused.value.hint == "collect_statistics"


def test_everything_a_file_lacks_is_named(saved, vit):
    _, path = saved
    needed = {0: "tokens", 1: "tokens", 4: "second_moment"}
    with pytest.raises(InputError) as refused:
        check_statistics(load_statistics(path), vit, needed)
    text = str(refused.value)
    assert f"'{path}' lack tokens of block 0, second_moment of block 4" in text


def test_a_missing_file_is_refused(tmp_path):
    path = tmp_path / "no.safetensors"
    with pytest.raises(InputError, match=f"'{path}' do not exist") as refused:
        load_statistics(path)
    assert refused.value.hint == "collect_statistics"


@pytest.mark.parametrize("damage", [lambda b: b[:200], lambda b: b"", lambda b: b"<html>" + b])
def test_a_damaged_file_is_refused(saved, tmp_path, damage):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(damage(saved[1].read_bytes()))
    with pytest.raises(InputError, match=rf"^'{broken}' is damaged or holds no token statistics"):
        load_statistics(broken)


KINDS = ("safetensors", "pipe", "device", "folder", "link")


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(KINDS)])
def test_a_hostile_file_is_refused(tmp_path, name):
    FILES[name](tmp_path / "statistics")
    with pytest.raises(InputError, match=f"'{tmp_path}/statistics'") as refused:
        load_statistics(tmp_path / "statistics")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_statistics_that_are_not_finite_are_refused_by_tensor(saved, tmp_path, value):
    statistics, _ = saved
    index, block = next((i, b) for i, b in statistics.blocks.items() if b.second_moment is not None)
    moment = block.second_moment.clone()
    moment[0, 0] = value
    broken = {**statistics.blocks, index: dataclasses.replace(block, second_moment=moment)}
    path = tmp_path / "broken.safetensors"
    save_statistics(dataclasses.replace(statistics, blocks=broken), path)
    with pytest.raises(InputError, match=rf"NaN or infinite numbers .*second_moment\.{index}\)"):
        load_statistics(path)


@pytest.mark.parametrize("description", [None, "{}", "[]", '{"blocks": {"0": {}}}'])
def test_another_safetensors_file_is_refused(tmp_path, description):
    path = tmp_path / "weights.safetensors"
    metadata = None if description is None else {"token_statistics": description}
    save_file({"cls_token": torch.zeros(1)}, path, metadata)
    with pytest.raises(InputError, match=rf"^'{path}' is damaged or holds no token statistics"):
        load_statistics(path)


def test_an_unwritable_file_is_refused(saved):
    with pytest.raises(InputError, match=r"^cannot write '/dev/null/tiny\.safetensors'"):
        save_statistics(saved[0], "/dev/null/tiny.safetensors")


def prompted(prompt, placement):
    return PromptedViT(tiny_vit(torch.float32), prompt, placement)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Statistics of both kinds of the float32 ViT, as read from one file each."""
    model, folder = tiny_vit(torch.float32), tmp_path_factory.mktemp("statistics")
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(30, 3, 24, 24, generator=generator)
    loaded = {}
    for what in ("second_moment", "tokens"):
        statistics = collect_statistics(model, [images], dict.fromkeys(range(NUM_BLOCKS), what))
        save_statistics(statistics, folder / f"{what}.safetensors")
        loaded[what] = load_statistics(folder / f"{what}.safetensors")
    return loaded


@pytest.mark.parametrize("placement", ["shallow", "last_2", "all", "released"])
def test_each_block_is_initialized_from_its_own_statistics(everything, placement):
    statistics = everything["second_moment"]
    model = prompted(WhitenedPrompt(5, WIDTH, train_basis=True), placement)
    model.initialize_prompts(0, statistics)
    for index, prompt in model.prompts.items():
        expected = prompt.whitening.matrix(statistics.blocks[int(index)]).T.float()
        torch.testing.assert_close(prompt.basis.detach(), expected)
    trained = [int(i) for i, prompt in model.prompts.items() if prompt.basis.requires_grad]
    assert trained == {"shallow": [0], "last_2": [3, 4], "all": [0, 1, 2, 3, 4]}.get(
        placement, [1, 2, 3, 4]
    )


def test_the_report_on_each_blocks_whitening_follows_the_blocks_index(everything, caplog):
    caplog.set_level(logging.INFO, "bpt_det")
    statistics = everything["second_moment"]
    model = prompted(WhitenedPrompt(5, WIDTH, train_basis=True), "last_2")
    model.initialize_prompts(0, statistics)
    first, second, third, fourth = [record.getMessage() for record in caplog.records]
    assert first.startswith("Block 3: ") and statistics.source in first
    assert third.startswith("Block 4: ")
    assert second.startswith("Whitening over ") and fourth.startswith("Whitening over ")


def test_token_prompts_of_each_block_are_tokens_that_enter_it(everything):
    statistics = everything["tokens"]
    model = prompted(FreePrompt(5, WIDTH, 4, init="random_sample"), "last_2")
    model.initialize_prompts(0, statistics)
    for index in (3, 4):
        rows = statistics.blocks[index].tokens.flatten(end_dim=1)
        for prompt in model.prompts[str(index)].tokens:
            assert (rows == prompt).all(dim=1).any()


def test_initial_prompts_depend_on_the_seed_alone(everything):
    prompts = []
    for seed in (1, 1, 2):
        torch.rand(seed)  # the global generator has no part in it
        model = prompted(BilinearPrompt(5, 4, WIDTH, basis_init="whitening"), "last_2")
        model.initialize_prompts(seed, everything["second_moment"])
        prompts.append(model.prompts["4"])
    assert torch.equal(prompts[0](1), prompts[1](1))
    assert not torch.equal(prompts[0](1), prompts[2](1))


def test_prompts_without_need_of_statistics_keep_their_values(everything):
    model = prompted(BilinearPrompt(5, 4, WIDTH), "last_2")
    before = [parameter.clone() for parameter in model.prompts.parameters()]
    for statistics in (None, everything["tokens"]):
        model.initialize_prompts(0, statistics)
        assert all(map(torch.equal, before, model.prompts.parameters()))


def test_prompts_that_need_statistics_are_refused_without():
    model = prompted(WhitenedPrompt(5, WIDTH, train_basis=False), "shallow")
    with pytest.raises(InputError, match="need token statistics"):
        model.initialize_prompts(seed=0)


def test_unset_prompts_cannot_be_used_unnoticed():
    model = prompted(WhitenedPrompt(5, WIDTH, train_basis=False), "shallow")
    assert model(torch.zeros(1, 3, 24, 24)).isnan().all()


def test_embeddings_are_those_of_the_patches_that_are_kept_before_their_positions(vit, images):
    needed = {0: "tokens", 1: "tokens"}
    statistics = collect_statistics(vit, images.split(2), needed, num_token_images=3)
    convolution = vit.patch_embed.proj
    expected = convolution(images[:3]).flatten(2).transpose(1, 2).float()
    torch.testing.assert_close(statistics.blocks[0].patch_embeddings, expected)
    assert statistics.blocks[1].patch_embeddings is None


def test_the_published_interaction_is_the_mean_over_images_of_stored_weights(vit, images):
    """WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_deep.py:38-50: q @ k.T @ x.T, then the mean."""
    batches = images.split(3)
    statistics = collect_statistics(vit, batches, {2: "published_interaction"}).blocks[2]
    x = vit.blocks[2].norm1(tokens_entering(vit, 2, images))
    weight = vit.blocks[2].attn.qkv.weight
    q, k = weight[:WIDTH], weight[WIDTH : 2 * WIDTH]
    expected = (q @ k.T @ x.transpose(2, 1)).mean(dim=0)
    torch.testing.assert_close(statistics.published_interaction, expected)
    assert statistics.second_moment is None


def test_a_prompt_of_the_published_arithmetic_gets_its_statistics_from_a_file(
    vit, images, tmp_path
):
    whitening = Whitening(arithmetic="published")
    prompt = BilinearPrompt(3, 2, WIDTH, basis_init="whitening", whitening=whitening)
    model = PromptedViT(vit, prompt, "all")
    assert set(model.needed_statistics.values()) == {"published_interaction"}
    statistics = collect_statistics(vit, [images], model.needed_statistics)
    save_statistics(statistics, tmp_path / "a.safetensors")
    model.initialize_prompts(0, load_statistics(tmp_path / "a.safetensors"))
    assert all(parameter.isfinite().all() for parameter in model.prompts.parameters())
