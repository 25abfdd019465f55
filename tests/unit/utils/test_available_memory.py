"""Available memory is the least that the machine and every control group leave."""

import pytest

from bpt_det.utils.available_memory import available_memory

GB = 2**30


@pytest.fixture
def root(tmp_path):
    """A machine with 10 GB left and no control groups."""
    write(tmp_path, "proc/meminfo", f"MemTotal: {24 * 2**20} kB\nMemAvailable: {10 * 2**20} kB\n")
    return tmp_path


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def set_limit_v2(root, group, limit, usage, inactive_file=0):
    folder = f"sys/fs/cgroup/{group}"
    write(root, f"{folder}/memory.max", f"{limit}\n")
    write(root, f"{folder}/memory.current", f"{usage}\n")
    write(root, f"{folder}/memory.stat", f"anon 5\ninactive_file {inactive_file}\n")


def test_without_control_groups_it_is_the_machines(root):
    assert available_memory(root) == 10 * GB


def test_a_limit_of_the_own_group_counts_and_cached_files_are_not_used_memory(root):
    write(root, "proc/self/cgroup", "0::/job/step\n")
    set_limit_v2(root, "job/step", 7 * GB, 5 * GB, inactive_file=2 * GB)
    assert available_memory(root) == 4 * GB


def test_a_limit_of_an_outer_group_counts(root):
    write(root, "proc/self/cgroup", "0::/job/step\n")
    set_limit_v2(root, "job/step", "max", 5 * GB)
    set_limit_v2(root, "job", 8 * GB, 5 * GB)
    assert available_memory(root) == 3 * GB


def test_a_group_without_a_limit_or_with_a_looser_one_changes_nothing(root):
    write(root, "proc/self/cgroup", "0::/job\n")
    set_limit_v2(root, "job", "max", 5 * GB)
    set_limit_v2(root, "", 90 * GB, 5 * GB)
    assert available_memory(root) == 10 * GB


def test_the_first_version_of_control_groups_counts_too(root):
    write(root, "proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/job\n2:cpuset:/job\n0::/\n")
    folder = "sys/fs/cgroup/memory/job"
    write(root, f"{folder}/memory.limit_in_bytes", f"{6 * GB}\n")
    write(root, f"{folder}/memory.usage_in_bytes", f"{5 * GB}\n")
    write(root, f"{folder}/memory.stat", f"cache 3\ntotal_inactive_file {GB}\ninactive_file 7\n")
    assert available_memory(root) == 2 * GB


def test_a_group_beyond_its_limit_leaves_nothing(root):
    write(root, "proc/self/cgroup", "0::/job\n")
    set_limit_v2(root, "job", 4 * GB, 5 * GB)
    assert available_memory(root) == 0


def test_where_linux_says_nothing_it_is_unknown(tmp_path):
    assert available_memory(tmp_path) is None
