#!/usr/bin/env python
"""Collect the token statistics that prompts need; the same as ``bpt-det stats``."""

from bpt_det.cli.app import command

main = command("stats")

if __name__ == "__main__":
    raise SystemExit(main())
