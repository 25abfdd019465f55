#!/usr/bin/env python
"""Measure how bursty a ViT's tokens are; the same as ``bpt-det burstiness``."""

from bpt_det.cli.app import command

main = command("burstiness")

if __name__ == "__main__":
    raise SystemExit(main())
