"""Names of the conditions a recording can be replayed under; :mod:`clip_depth_ros.replay.degrade` makes them."""

from __future__ import annotations

AS_RECORDED = "as recorded"
CONDITIONS = ("blur", "dark", "noise", "rain")
"""Adverse ones."""
