#!/usr/bin/env python
"""Train or evaluate a detector; the same as ``bpt-det train``."""

from bpt_det.cli.app import command

main = command("train")

if __name__ == "__main__":
    raise SystemExit(main())
