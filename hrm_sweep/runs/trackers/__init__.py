"""Trackers that people have already: one file each, imported only where a configuration asks for it."""

from hrm_sweep.runs.trackers.tracking import EXTRAS, Tracking, missing_tracker, require_tracker

__all__ = ["EXTRAS", "Tracking", "missing_tracker", "require_tracker"]
