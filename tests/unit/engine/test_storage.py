"""Event storage: bounded memory, and a state that a resumed run goes on from."""

import math
import tracemalloc

import torch

from bpt_det.engine.storage import MAX_VALUES, WINDOW, RunStorage


def put(storage, start, stop):
    for storage.iter in range(start, stop):
        storage.put_scalars(total_loss=math.sin(storage.iter), time=0.5)
        storage.put_scalar("lr", 1.0 / (1 + storage.iter), smoothing_hint=False)
        if storage.iter % 7 == 0 and storage.iter < 40:
            storage.put_scalar("val/loss", storage.iter / 3, smoothing_hint=False)


def written(storage):
    latest = storage.latest_with_smoothing_hint(WINDOW)
    return {name: value for name, value in latest.items() if name != "time"}


def test_a_resumed_run_writes_what_an_uninterrupted_one_does(tmp_path):
    straight, before, after = RunStorage(), RunStorage(), RunStorage()
    put(straight, 0, 40)
    put(before, 0, 33)
    torch.save(before.state_dict(), tmp_path / "state.pth")
    after.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    assert written(after) == written(before)
    put(after, 33, 40)
    assert written(after) == written(straight)
    assert after.state_dict() == straight.state_dict()


def test_times_are_of_the_machine_and_not_of_the_run():
    storage = RunStorage()
    put(storage, 0, 3)
    assert storage.state_dict().keys() == {"total_loss", "lr", "val/loss"}


def test_memory_does_not_grow_with_the_iterations():
    storage = RunStorage()
    put(storage, 0, MAX_VALUES)
    tracemalloc.start()
    try:
        put(storage, MAX_VALUES, 2 * MAX_VALUES)
        before = tracemalloc.get_traced_memory()[0]
        put(storage, 2 * MAX_VALUES, 12 * MAX_VALUES)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 50_000  # bytes; Detectron2's keeps 120 for each value
    assert len(storage.history("total_loss").values()) == MAX_VALUES
