#!/usr/bin/env python
"""Measure time and memory of a detector; the same as ``bpt-det benchmark``."""

from bpt_det.cli.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
