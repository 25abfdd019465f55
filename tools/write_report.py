#!/usr/bin/env python
"""Write the report of a run; the same as ``bpt-det report``."""

from bpt_det.cli.app import command

main = command("report")

if __name__ == "__main__":
    raise SystemExit(main())
