#!/usr/bin/env python
"""Measure how bursty a ViT's tokens are; the same as ``bpt-det burstiness``."""

from bpt_det.cli.burstiness import main

if __name__ == "__main__":
    raise SystemExit(main())
