#!/usr/bin/env python
"""Train and test small classifiers from scratch; the same as ``bpt-det demo-cls``."""

from bpt_det.cli.app import command

main = command("demo-cls")

if __name__ == "__main__":
    raise SystemExit(main())
