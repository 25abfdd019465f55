#!/usr/bin/env python
"""Train or evaluate an image classifier; the same as ``bpt-det train-cls``."""

from bpt_det.cli.app import command

main = command("train-cls")

if __name__ == "__main__":
    raise SystemExit(main())
