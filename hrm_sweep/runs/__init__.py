"""The run directory: its files, metrics, status and environment. Nothing here needs torch."""

from hrm_sweep.runs.directory import RunDirectory, disk_full_explained, replaced_atomically
from hrm_sweep.runs.environment import Environment, describe_environment, read_environment, write_environment
from hrm_sweep.runs.metrics import MetricRow, MetricsFollower, MetricsWriter, cut_back, read_metrics
from hrm_sweep.runs.status import Cause, Owner, State, Status, StopReason, read_status, write_status

__all__ = [
    "Cause",
    "Environment",
    "MetricRow",
    "MetricsFollower",
    "MetricsWriter",
    "Owner",
    "RunDirectory",
    "State",
    "Status",
    "StopReason",
    "cut_back",
    "describe_environment",
    "disk_full_explained",
    "read_environment",
    "read_metrics",
    "read_status",
    "replaced_atomically",
    "write_environment",
    "write_status",
]
