#!/usr/bin/env python
"""Submit a command to SLURM; the same as ``bpt-det submit``."""

from bpt_det.cli.app import command

main = command("submit")

if __name__ == "__main__":
    raise SystemExit(main())
