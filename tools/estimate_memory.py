#!/usr/bin/env python
"""Predict the GPU memory that training takes; the same as ``bpt-det memory``."""

from bpt_det.cli.memory import main

if __name__ == "__main__":
    raise SystemExit(main())
