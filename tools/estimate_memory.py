#!/usr/bin/env python
"""Predict the GPU memory that training takes; the same as ``bpt-det memory``."""

from bpt_det.cli.app import command

main = command("memory")

if __name__ == "__main__":
    raise SystemExit(main())
