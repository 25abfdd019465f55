#!/usr/bin/env python
"""Detect objects in images, folders and videos; the same as ``bpt-det predict``."""

from bpt_det.cli.predict import main

if __name__ == "__main__":
    raise SystemExit(main())
