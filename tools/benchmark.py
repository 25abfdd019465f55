#!/usr/bin/env python
"""Measure time and memory of a detector; the same as ``bpt-det benchmark``."""

from bpt_det.cli.app import command

main = command("benchmark")

if __name__ == "__main__":
    raise SystemExit(main())
