"""The processes that train one run together, and the few things they say to each other.

Data-parallel as the reference: rank r of n has the rows [r B/n, (r + 1) B/n) of every batch of B = global_batch_size
and of the carry, the gradients are summed over ranks, those of the puzzle embedding gathered, and every rank takes the
same optimizer step. Other than in the reference a run does not depend on how many ranks it has (up to the order of
floating-point sums): whatever is drawn, is drawn for the whole batch, by every rank from the same generator.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hrm_sweep.errors import TrainingError

_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""What carries the tensors of each kind of device. What ranks agree on stays on the CPU: no GPU is waited for."""

Thing = TypeVar("Thing")


class RankLostError(TrainingError):
    """Another rank has ended in the middle of what all do together. Why, only that one knows."""


class Ranks:
    """This process among all that train one run: the `rank`-th of `count`. Alone, nothing here costs anything.

    Every method but `share` has to be called by all ranks, in the same order. Raises RankLostError when one is gone.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @staticmethod
    def alone() -> Ranks:
        return Ranks()

    @staticmethod
    def join(device: torch.device) -> Ranks:
        """Meet the others, as the variables say that torchrun sets: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT."""
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with _others_needed():
            dist.init_process_group(_BACKENDS[device.type], rank=rank, world_size=count)
        return Ranks(rank, count)

    def leave(self) -> None:
        """Wait for the others to come to this point, and part."""
        if self.count > 1:
            with _others_needed():
                dist.barrier()
                dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes the files of the run."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """The part of `rows` rows that belongs to this rank; equal parts where `count` divides `rows`."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, of one dtype, by its sum over all ranks; the same to the last bit on each of them."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _others_needed():
            dist.all_reduce(flat)
        totals = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total.view_as(tensor))

    def gather(self, share: Tensor) -> Tensor:
        """The shares (rows, ...) of all ranks, of one shape, joined in the order of ranks."""
        if self.count == 1:
            return share
        share = share.contiguous()
        parts = [torch.empty_like(share) for _ in range(self.count)]
        with _others_needed():
            dist.all_gather(parts, share)
        return torch.cat(parts)

    def hear_all(self, thing: Thing) -> list[Thing]:
        """What each rank has to say, in the order of ranks: anything that can be pickled, with tensors on the CPU."""
        if self.count == 1:
            return [thing]
        heard: list[Thing | None] = [None] * self.count
        with _others_needed():
            dist.all_gather_object(heard, thing)
        return heard  # type: ignore[return-value]

    def largest(self, number: int) -> int:
        """The largest `number` that any rank gives, which is how they come to agree."""
        if self.count == 1:
            return number
        agreed = torch.tensor(number)
        with _others_needed():
            dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return int(agreed)


@contextlib.contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RankLostError(f"another rank has ended: {str(error).splitlines()[0]}") from error
