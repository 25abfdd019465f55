#!/usr/bin/env python
"""Check that a detector memorizes 8 photographs; the same as ``bpt-det overfit``."""

from bpt_det.cli.app import command

main = command("overfit")

if __name__ == "__main__":
    raise SystemExit(main())
