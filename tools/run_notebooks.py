#!/usr/bin/env python
"""Execute the notebooks of notebooks/, each in a fresh kernel; an error in one is an error.

By default at a reduced size, and nothing is written. With --write they run at full size, and their
outputs are stored in them.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[1] / "notebooks"


def execute(path: Path, *, write: bool) -> None:
    """Run all cells of a notebook; with ``write``, store it with its outputs.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,  # seconds, of a cell
        record_timing=False,  # it would change the file with every run
        startup_timeout=300,
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute(cwd=str(FOLDER))
    if write:
        notebook.metadata["language_info"] = {"name": "python"}  # not of which version
        nbformat.write(notebook, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, execute, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    parser.add_argument("--write", action="store_true", help="full size, outputs are stored")
    args = parser.parse_args(argv)
    if not args.write:
        os.environ["BPT_DET_QUICK"] = "1"
    for path in args.notebooks or sorted(FOLDER.glob("*.ipynb")):
        start = time.perf_counter()
        try:
            execute(path, write=args.write)
        except CellExecutionError as error:
            sys.stderr.write(f"{error}\nerror: {path.name} failed\n")
            return 1
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
