#!/usr/bin/env python
"""List all faults of a dataset; the same as ``bpt-det check``."""

from bpt_det.cli.app import command

main = command("check")

if __name__ == "__main__":
    raise SystemExit(main())
