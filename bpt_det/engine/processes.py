"""Processes of a run that torchrun or srun has started: their place, and what ends one ends all.

`find_place` reads what the launcher says, `joined` makes the process group of Detectron2's `comm`;
`use_existing_group` takes one that is there already.
Every process tells the others that it lives, through a store of torch's that needs no GPU: the
first that fails is the one that is reported, by its rank, and none waits for another for ever.
"""

import contextlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.distributed as dist
from detectron2.utils import comm

from bpt_det.utils.errors import EXIT_STATUS, InputError, one_line, status_of_exit

_BEAT_SECONDS = 1.0
_SUSPICION_SECONDS = 5.0
_GRACE_SECONDS = 10.0  # for the main thread to end by itself, after another process has failed
_DEFAULT_PORT = 29500


class PeerError(InputError):
    """Another process of the run has ended; ``exit_status`` is the one that all end with."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status

    @property
    def status(self) -> str:
        """Status of a run that ends so, a key of `EXIT_STATUS`."""
        return status_of_exit(self.exit_status)


@dataclass(frozen=True)
class Place:
    """What a launcher tells a process of its place.

    Attributes:
        launcher: ``torchrun`` or ``srun``.
        rank, world_size: among all processes.
        local_rank, local_world_size: among those of the machine.
        host, port: where the processes meet.
        attempt: how often the launcher has started all of them anew.
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    host: str
    port: int
    attempt: int = 0


def find_place(environment: Mapping[str, str]) -> Place | None:
    """Return the place of this process; None: no launcher has started several.

    Args:
        environment: of the process. torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
            MASTER_ADDR and MASTER_PORT; srun the variables of a step, SLURM_STEP_NUM_TASKS and
            others, to which MASTER_ADDR and MASTER_PORT may be added.

    Raises:
        InputError: a variable is missing or no number, or machines have unlike numbers of them.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        read = _Reader(environment, "torchrun")
        place = Place(
            "torchrun",
            read("RANK"),
            read("WORLD_SIZE"),
            read("LOCAL_RANK"),
            read("LOCAL_WORLD_SIZE", read("WORLD_SIZE")),
            environment.get("MASTER_ADDR", "127.0.0.1"),
            read("MASTER_PORT", _DEFAULT_PORT),
            read("TORCHELASTIC_RESTART_COUNT", 0),
        )
    elif "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        read = _Reader(environment, "srun")
        nodes = environment.get("SLURM_STEP_NODELIST", "127.0.0.1")
        num_nodes = read("SLURM_STEP_NUM_NODES", 1)
        place = Place(
            "srun",
            read("SLURM_PROCID"),
            read("SLURM_STEP_NUM_TASKS"),
            read("SLURM_LOCALID"),
            -(-read("SLURM_STEP_NUM_TASKS") // num_nodes),
            environment.get("MASTER_ADDR") or first_host(nodes),
            read("MASTER_PORT", _DEFAULT_PORT + read("SLURM_JOB_ID", 0) % 1000),
        )
    else:
        return None
    if place.world_size % place.local_world_size:
        raise InputError(
            f"{place.world_size} processes cannot be {place.local_world_size} on every machine; "
            f"start {place.launcher} with as many on each."
        )
    return place if place.world_size > 1 else None


def first_host(nodes: str) -> str:
    """Return the first name of a list of SLURM's: ``gpu03`` of ``gpu[03-05,09],cpu1``."""
    match = re.match(r"([^,\[]+)(?:\[([^,\-\]]+)[^\]]*\]([^,]*))?", nodes)
    if match is None:
        raise InputError(f"SLURM_STEP_NODELIST '{nodes}' names no machine; set MASTER_ADDR.")
    return "".join(part or "" for part in match.groups())


_current: "Peers | None" = None


def peers_of_run() -> "Peers | None":
    """Return the processes of this run; None: a launcher has not started several."""
    return _current


def is_main_process() -> bool:
    """Return whether this process is that of rank 0, before `joined` too."""
    return comm.is_main_process() if _current is None else _current.place.rank == 0


def find_cause(error: BaseException | None) -> BaseException | None:
    """Return the end of another process where that led to an error, else the error itself."""
    if error is None or _current is None:
        return error
    return _current.explain(error) or error


class _Reader:
    """Reads whole numbers of an environment."""

    def __init__(self, environment: Mapping[str, str], launcher: str) -> None:
        self.environment = environment
        self.launcher = launcher

    def __call__(self, name: str, default: int | None = None) -> int:
        text = self.environment.get(name, "" if default is None else str(default))
        if not text.isdigit():
            raise InputError(
                f"{name} must be a whole number, as {self.launcher} sets it, got '{text}'; start "
                f"all processes with {self.launcher}."
            )
        return int(text)


class Peers:
    """The processes of a run, seen from one of them.

    Attributes:
        place: of this process.
        timeout: seconds after which a process that is silent counts as lost; a few, as soon as
            communication has failed.
        verdict: why the run ends, once another process has ended.
        reports: whether this process is the one that says it.
        before_abort: called with the verdict before a process is ended that waits for others.

    Raises:
        InputError: the processes cannot meet.
    """

    def __init__(self, place: Place, timeout: float = 60.0) -> None:
        global _current
        self.place = place
        self.timeout = timeout
        self.verdict: PeerError | None = None
        self.reports = False
        self.before_abort: Callable[[PeerError], None] = lambda verdict: None
        self._is_leaving = threading.Event()
        self._prefix = f"bpt_det/{place.attempt}"
        os.environ.update(
            MASTER_ADDR=place.host,
            MASTER_PORT=str(place.port),
            RANK=str(place.rank),
            WORLD_SIZE=str(place.world_size),
        )
        self.store, self._beats = self._meet()
        self._beats.set(self._key("name", place.rank), f"{socket.gethostname()}, pid {os.getpid()}")
        self._last_seen: dict[int, tuple[int, float]] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        _current = self

    def _meet(self) -> tuple[dist.Store, dist.Store]:
        """Return the store of the process group, and that of the signs of life."""
        place = self.place
        try:
            store, _, _ = next(dist.rendezvous("env://"))
            # One of its own: the other blocks while this process waits for a group.
            beats = dist.TCPStore(place.host, place.port, is_master=False)
        except RuntimeError as error:
            raise InputError(
                f"process {place.rank} of {place.world_size} cannot meet the others at "
                f"{place.host}:{place.port} ({str(error).splitlines()[0]}); set MASTER_ADDR to the "
                "machine of process 0, and MASTER_PORT to a free port of it."
            ) from error
        return dist.PrefixStore(self._prefix, store), beats  # torchrun's outlives an attempt

    def report_failure(self, message: str, exit_status: int) -> str | None:
        """Tell the others that this process ends; return its line, or None if it is not the first.

        Args:
            message: why.
            exit_status: that all are to end with.
        """
        line = f"process {self.place.rank} of {self.place.world_size}: {message}"
        is_first = self._post(line, exit_status)
        if is_first and self.place.rank == 0:  # whose end may be that of the store
            time.sleep(2 * _BEAT_SECONDS)  # the others read it meanwhile
        return line if is_first else None

    def explain(self, error: BaseException) -> PeerError | None:
        """Return whose end led to an error of torch's communication; None: it is no such error.

        Waits until it is known, but not for long: then it is None too.
        """
        if not _is_communication_error(error):
            return None
        self.timeout = min(self.timeout, _SUSPICION_SECONDS)
        end = time.monotonic() + self.timeout + _GRACE_SECONDS
        while self.verdict is None and time.monotonic() < end:
            time.sleep(_BEAT_SECONDS / 4)
        return self.verdict

    def leave(self) -> None:
        """Stop watching; the others do not miss this process."""
        with contextlib.suppress(RuntimeError):
            self._beats.set(self._key("left", self.place.rank), "")
        self._is_leaving.set()

    def _watch(self) -> None:
        while not self._is_leaving.wait(_BEAT_SECONDS):
            try:
                self._beat()
            except RuntimeError:  # the store is in process 0, or in the launcher
                self.verdict = PeerError("process 0, or its launcher, has ended.", 1)
                self.reports = self.place.rank == 1
            if self.verdict is not None:
                break
        else:
            return
        if not self._is_leaving.wait(_GRACE_SECONDS):  # the main thread waits for what is gone
            self._abort(self.verdict)

    def _abort(self, verdict: PeerError) -> NoReturn:
        if self.reports:
            print(f"error: {verdict}", file=sys.stderr, flush=True)
        try:
            self.before_abort(verdict)
        finally:
            os._exit(verdict.exit_status)

    def _beat(self) -> None:
        self._beats.add(self._key("beat", self.place.rank), 1)
        if self._beats.check([self._key("failure", "text")]):
            status, _, text = self._beats.get(self._key("failure", "text")).decode().partition(" ")
            self.verdict = PeerError(text, int(status))
            return
        # Process 0 watches all, the others watch process 0.
        others = range(1, self.place.world_size) if self.place.rank == 0 else [0]
        for rank in others:
            self._look_at(rank)

    def _look_at(self, rank: int) -> None:
        if self._beats.check([self._key("left", rank)]):
            return
        count = self._beats.add(self._key("beat", rank), 0)
        before, num_silent = self._last_seen.get(rank, (count, 0))
        self._last_seen[rank] = (count, num_silent + 1 if count == before else 0)
        # Looks are counted, not seconds: this process may have been stopped or busy itself.
        silence = self._last_seen[rank][1] * _BEAT_SECONDS
        if silence <= self.timeout or self.reports:
            return
        name = self._key("name", rank)
        where = self._beats.get(name).decode() if self._beats.check([name]) else "never seen"
        self.reports = self._post(
            f"process {rank} of {self.place.world_size} ({where}) has been silent for "
            f"{silence:.0f} s: killed, stopped, or its machine is gone; look there, and go on from "
            "the last checkpoint.",
            EXIT_STATUS["failed"],
        )

    def _post(self, line: str, exit_status: int) -> bool:
        """Write the first failure of the run; return whether this one is."""
        try:
            if self._beats.add(self._key("failure", "count"), 1) > 1:
                return False
            self._beats.set(self._key("failure", "text"), f"{exit_status} {one_line(line)}")
        except RuntimeError:  # no store any more: nobody else can tell
            return True
        return True

    def _key(self, kind: str, name: object) -> str:
        return f"{self._prefix}/{kind}/{name}"


@contextlib.contextmanager
def joined(peers: Peers, device: str) -> Iterator[None]:
    """Make the process group that Detectron2's `comm` uses: NCCL on ``cuda``, else gloo.

    Raises:
        InputError: the machine has fewer GPUs than processes.
    """
    place = peers.place
    if device == "cuda":
        if place.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"{place.launcher} has started {place.local_world_size} processes on a machine "
                f"with {torch.cuda.device_count()} GPUs; start one for each, or set "
                "train.device=cpu."
            )
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=peers.store,
        rank=place.rank,
        world_size=place.world_size,
    )
    _make_local_group(place.rank, place.world_size, place.local_world_size)
    comm.synchronize()
    yield
    comm.synchronize()  # none leaves while another needs it
    dist.destroy_process_group()


def use_existing_group(environment: Mapping[str, str]) -> bool:
    """Take the process group that a program has made before it called us, such as Ray Train.

    That program watches its processes, and ends them.

    Args:
        environment: of the process; LOCAL_WORLD_SIZE is the number of processes of the machine,
            without it all are on one.

    Returns:
        Whether there is one, of several processes.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return False
    if comm._LOCAL_PROCESS_GROUP is None:
        size = _Reader(environment, "the program")("LOCAL_WORLD_SIZE", dist.get_world_size())
        _make_local_group(dist.get_rank(), dist.get_world_size(), size)
    return True


def check_equal(what: Mapping[str, object]) -> None:
    """Check that all processes have the same of everything, before the first iteration.

    Args:
        what: by a name for the message, such as ``optimizer.lr``.

    Raises:
        InputError: processes differ; says in what, and which.
    """
    gathered = comm.all_gather(dict(what))
    for name in sorted(set().union(*gathered)):
        values = [of_process.get(name, "nothing") for of_process in gathered]
        unlike = [rank for rank, value in enumerate(values) if value != values[0]]
        if unlike:
            raise InputError(
                f"{name} of process {unlike[0]} is {values[unlike[0]]}, but {values[0]} of process "
                "0; start all processes with the same command, code and data."
            )


def _make_local_group(rank: int, world_size: int, local_world_size: int) -> None:
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(local_world_size)
        return
    for start in range(0, world_size, local_world_size):  # Detectron2 0.6
        group = dist.new_group(list(range(start, start + local_world_size)))
        if start <= rank < start + local_world_size:
            comm._LOCAL_PROCESS_GROUP = group


def _is_communication_error(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, is of torch's communication."""
    while error is not None:
        if isinstance(error, dist.DistError):
            return True
        if isinstance(error, RuntimeError) and re.search(r"gloo|NCCL|[Cc]onnection", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
