"""What the ranks of one job tell each other when they share a dictionary, each holding a slice of its latents.

Every rank sees the same rows. It encodes and decodes with its own latents; partial reconstructions are added up, so
that all ranks know the same error, from which each takes the gradients of its own weights. The numbers that all ranks
decide by (losses, reconstructions, which values are the largest) are equal to the last bit on every rank.

`Collectives` is a process alone, for which all of this is nothing; `RankCollectives` speaks through torch.distributed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from jaxtyping import Bool, Shaped
from torch import Tensor

from winnow.errors import UserError
from winnow.runtime.ranks import Ranks
from winnow.runtime.stage import Interrupted

PATIENCE = timedelta(minutes=30)  # the others may read, evaluate or save that long


class Collectives:
    """One process that holds all latents."""

    ranks = 1
    rank = 0

    def all_reduce(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Add up a tensor over ranks; may change it."""
        return tensor

    def smallest(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Give the smallest of each entry over ranks; may change the tensor."""
        return tensor

    def all_gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."]:
        """Put the ranks' tensors of one shape under one another, on every rank."""
        return tensor

    def gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."] | None:
        """Do as `all_gather` in the host's memory, on rank 0 only."""
        return tensor

    def largest(self, values: Shaped[Tensor, "group candidate"], count: int) -> Bool[Tensor, "group candidate"] | None:
        """Mark which of this rank's values are among the `count` largest of their group over all ranks; None: all."""
        return None


ALONE = Collectives()


class RankCollectives(Collectives):
    """The ranks of a torch.distributed job. Raises `Interrupted` where one of them is gone."""

    def __init__(self) -> None:
        self.ranks = dist.get_world_size()
        self.rank = dist.get_rank()

    def all_reduce(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Add up a tensor over ranks, in place where it is contiguous."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def smallest(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Give the smallest of each entry over ranks."""
        return self._reduce(tensor, dist.ReduceOp.MIN)

    def all_gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."]:
        """Put the ranks' tensors of one shape under one another, on every rank."""
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self.ranks)]
        with _together():
            dist.all_gather(parts, tensor)
        return torch.cat(parts)

    def gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."] | None:
        """Put the ranks' tensors under one another in the memory of rank 0's host; None on the others."""
        tensor = tensor.detach().cpu().contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self.ranks)] if self.rank == 0 else None
        with _together():
            dist.gather(tensor, parts)
        return None if parts is None else torch.cat(parts)

    def largest(self, values: Shaped[Tensor, "group candidate"], count: int) -> Bool[Tensor, "group candidate"] | None:
        """Mark which of this rank's values are among the `count` largest of their group over all ranks.

        Ranks may have different numbers of candidates. Among equal values, those of lower ranks come first.
        """
        groups, mine = values.shape
        counts = self.all_gather(torch.tensor([mine], device=values.device)).tolist()
        widest = max(counts)
        padded = torch.nn.functional.pad(values, (0, widest - mine), value=-torch.inf)
        everything = self.all_gather(padded.unsqueeze(0)).transpose(0, 1).flatten(1)  # (group, rank * candidate)
        if everything.shape[1] <= count:
            return torch.ones_like(values, dtype=torch.bool)
        order = everything.sort(dim=1, descending=True, stable=True).indices[:, :count]
        chosen = torch.zeros_like(everything, dtype=torch.bool).scatter_(1, order, True)
        return chosen.view(groups, self.ranks, widest)[:, self.rank, :mine]

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        tensor = tensor.contiguous()
        with _together():
            dist.all_reduce(tensor, operation)
        return tensor


@contextmanager
def joined(ranks: Ranks) -> Iterator[RankCollectives]:
    """Join the other ranks of a job that torchrun started.

    Raises `UserError` where nothing says where they meet.
    """
    if "MASTER_ADDR" not in os.environ:
        raise UserError(
            "train.shard_latents: ranks that share a dictionary meet at MASTER_ADDR and MASTER_PORT, which torchrun "
            "sets; start with torchrun --nproc-per-node N -m train --config FILE"
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, rank=ranks.rank, world_size=ranks.total, timeout=PATIENCE)
    try:
        yield RankCollectives()
    finally:
        dist.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    """Turn a broken connection into a clear end."""
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0][:200]
        raise Interrupted(f"another rank of this job is gone ({why}); what was checkpointed is kept") from error
