#!/usr/bin/env python
"""Run a comparison of methods and report it; the same as ``bpt-det compare``."""

from bpt_det.cli.app import command

main = command("compare")

if __name__ == "__main__":
    raise SystemExit(main())
