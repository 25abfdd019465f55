"""Tests: unit/ mirrors bpt_det/, parity/, e2e/, support/."""
