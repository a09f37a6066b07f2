"""Which GPU has room for a trial."""

from __future__ import annotations

import pytest

from hrm_sweep.errors import UsageError
from hrm_sweep.sweep.resources import GpuMemory, read_gpu_memory, slots_with_room

LISTING = """\
0, GPU-11111111-2222, 81000, 81559
1, GPU-33333333-4444, 20000, 81559
2, GPU-55555555-6666, [N/A], [N/A]
"""
FREE, USED, HALF = GpuMemory(81000, 81559), GpuMemory(20000, 81559), GpuMemory(40000, 80000)


def test_the_listing_of_nvidia_smi_is_read_by_index_and_uuid() -> None:
    memory = read_gpu_memory(LISTING)
    assert memory == {"0": FREE, "GPU-11111111-2222": FREE, "1": USED, "GPU-33333333-4444": USED}
    assert read_gpu_memory("No devices were found\n") == {}


@pytest.mark.parametrize(
    ("part", "memory", "slots"),
    [
        (1, {}, ("0", "1")),
        (1, {"0": FREE, "1": USED}, ("0",)),
        (2, {"0": FREE, "1": FREE}, ("0", "1")),
        (0.5, {"0": FREE, "1": HALF}, ("0", "0", "1")),
        (0.25, {"0": FREE, "1": USED}, ("0", "0", "0", "0", "1")),
        (0.3, {"0": FREE, "1": USED}, ("0", "0", "0", "1")),
        (0.1, {"1": HALF}, ("0",) * 10 + ("1",) * 6),
    ],
)
def test_a_gpu_offers_what_others_leave_of_it(
    part: float, memory: dict[str, GpuMemory], slots: tuple[str, ...]
) -> None:
    assert slots_with_room(("0", "1"), part, memory) == slots


def test_no_room_anywhere_is_said_with_numbers() -> None:
    with pytest.raises(
        UsageError, match=r"no GPU has the memory free .* \(100% of one\); free is GPU 1: 20000 of 81559"
    ):
        slots_with_room(("1",), 1, {"0": FREE, "1": USED})
