"""A Ray cluster of a test's own: a head and nodes, all processes of this machine, on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Else Ray puts the address of the machine in place of 127.0.0.1, also where it connects, and nothing listens there.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
LOOPBACK = "127.0.0.1"


@contextmanager
def running_cluster(cpus: int) -> Iterator[Any]:
    """A head with so many CPUs, to which this process is connected; gone with all its processes at the end."""
    ray = pytest.importorskip("ray", reason="no Ray here; the extra [ray] has it")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=node(cpus))
    try:
        ray.init(address=cluster.address, _node_ip_address=LOOPBACK, log_to_driver=False, configure_logging=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def node(cpus: int) -> dict[str, Any]:
    """What a node of a test is given."""
    return {"num_cpus": cpus, "node_ip_address": LOOPBACK, "include_dashboard": False}
