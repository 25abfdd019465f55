"""``python -m bpt_det.cli COMMAND ...``, the same as ``bpt-det COMMAND ...``."""

from .app import main

if __name__ == "__main__":  # not in the processes that a command starts
    raise SystemExit(main())
