"""Commands that are waited for in threads, and their end."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from bpt_det.comparison.subprocesses import call, end_all


def run(code, tmp_path):
    return call([sys.executable, "-c", code], cwd=tmp_path, env=os.environ)


def test_a_command_gives_what_it_wrote_to_stderr_and_its_status(tmp_path):
    code = "import sys; print('out'); print('no', file=sys.stderr); sys.exit(3)"
    assert run(code, tmp_path) == ("no\n", 3)


def test_commands_run_where_and_with_the_variables_they_are_told(tmp_path):
    code = "import os; open(os.environ['NAME'], 'w').close()"
    call([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "NAME": "made"})
    assert (tmp_path / "made").is_file()


def test_all_that_run_at_the_same_time_are_ended(tmp_path):
    code = "import signal; open('{}', 'w').close(); signal.pause()"
    for name in "ab":
        os.mkfifo(tmp_path / name)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run, code.format(name), tmp_path) for name in "ab"]
        for name in "ab":
            (tmp_path / name).read_text()  # until the command writes to it
        end_all()
        assert [future.result()[1] for future in futures] == [-signal.SIGTERM] * 2
