#!/usr/bin/env python
"""Pre-train a ViT as a masked autoencoder; the same as ``bpt-det pretrain``."""

from bpt_det.cli.app import command

main = command("pretrain")

if __name__ == "__main__":
    raise SystemExit(main())
