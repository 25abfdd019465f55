"""Available memory of this process, within the limits of its control groups."""

from collections.abc import Iterator
from pathlib import Path

# Of version 1 and 2 of Linux's control groups: where they are mounted, the files of limit and
# usage, and the name of the file pages that the kernel gives up first.
_V1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
_V2 = ("sys/fs/cgroup", "memory.max", "memory.current")
_RECLAIMABLE = {_V1: "total_inactive_file", _V2: "inactive_file"}


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that can be taken without swapping, or None where Linux does not say it.

    The minimum of what the machine has left and of the headroom below the limit of each control
    group that this process belongs to, as a container or a batch system sets one.

    Args:
        root: folder that holds ``proc`` and ``sys``.
    """
    meminfo = _read_numbers(root / "proc/meminfo")
    headroom = list(_cgroup_headroom(root))
    if "MemAvailable:" in meminfo:
        headroom.append(meminfo["MemAvailable:"] * 1024)
    return min(headroom, default=None)


def _cgroup_headroom(root: Path) -> Iterator[int]:
    """Yield the bytes that are left below each limit."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(","):
            version = _V1
        elif not controllers:
            version = _V2
        else:
            continue
        mount, limit_file, usage_file = root / version[0], version[1], version[2]
        folder = mount / group.lstrip("/")
        while folder.is_relative_to(mount):  # a limit of a group holds for all inside it
            limit, usage = _read(folder / limit_file).strip(), _read(folder / usage_file).strip()
            if limit.isdigit() and usage.isdigit():  # else there is no limit: "max"
                statistics = _read_numbers(folder / "memory.stat")
                reclaimable = statistics.get(_RECLAIMABLE[version], 0)
                yield max(0, int(limit) - int(usage) + reclaimable)
            folder = folder.parent


def _read_numbers(path: Path) -> dict[str, int]:
    """Return the first number of each line by the word before it."""
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
