"""Communication between the ranks of a job that share a dictionary, each holding a slice of its latents.

Every rank sees the same rows, and encodes and decodes them with its own latents. The partial reconstructions are
summed, so all ranks have the same error, from which each computes the gradients of its own weights. The numbers on
which decisions depend (losses, reconstructions, which values are the largest) are equal to the last bit on every rank.

`Collectives` is for a single process and exchanges nothing; `RankCollectives` uses torch.distributed.
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

PATIENCE = timedelta(minutes=30)  # another rank may read, evaluate or save that long


class Collectives:
    """One process that holds all latents."""

    ranks = 1
    rank = 0

    def all_reduce(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Sum a tensor over ranks; may change it in place."""
        return tensor

    def smallest(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Return the minimum of each entry over ranks; may change the tensor in place."""
        return tensor

    def all_gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."]:
        """Concatenate the ranks' tensors, all of one shape, on every rank."""
        return tensor

    def gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."] | None:
        """Concatenate the ranks' tensors in host memory on rank 0; return None on the others."""
        return tensor

    def largest(self, values: Shaped[Tensor, "group candidate"], count: int) -> Bool[Tensor, "group candidate"] | None:
        """Mark which of this rank's values are among the `count` largest of their group over all ranks; None: all."""
        return None


ALONE = Collectives()


class RankCollectives(Collectives):
    """The ranks of a torch.distributed job. Raises `Interrupted` if one of them is lost."""

    def __init__(self) -> None:
        self.ranks = dist.get_world_size()
        self.rank = dist.get_rank()

    def all_reduce(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Sum a tensor over ranks, in place if it is contiguous."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def smallest(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Return the minimum of each entry over ranks."""
        return self._reduce(tensor, dist.ReduceOp.MIN)

    def all_gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."]:
        """Concatenate the ranks' tensors, all of one shape, on every rank."""
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self.ranks)]
        with _together():
            dist.all_gather(parts, tensor)
        return torch.cat(parts)

    def gather(self, tensor: Shaped[Tensor, "here ..."]) -> Shaped[Tensor, "all ..."] | None:
        """Concatenate the ranks' tensors in host memory on rank 0; return None on the others."""
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

    Raises `UserError` if MASTER_ADDR is not set, or not all ranks come.
    """
    if "MASTER_ADDR" not in os.environ:
        raise UserError(
            "train.shard_latents: MASTER_ADDR is not set, where ranks that share a dictionary meet; torchrun sets it: "
            "start with torchrun --nproc-per-node N -m train --config FILE"
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, rank=ranks.rank, world_size=ranks.total, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        place = ":".join(filter(None, (os.environ["MASTER_ADDR"], os.environ.get("MASTER_PORT"))))
        raise UserError(
            f"train.shard_latents: rank {ranks.rank} did not meet the other ranks, {ranks.total} in all, at {place} "
            f"({_reason(error)}); start all of them, with the same MASTER_ADDR and MASTER_PORT"
        ) from error
    try:
        yield RankCollectives()
    finally:
        dist.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    """Raise `Interrupted` if the connection to another rank breaks; `UserError` if NCCL never had one."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "Duplicate GPU" in str(error):
            raise UserError(
                f"train.shard_latents: two ranks have the same GPU, which NCCL refuses ({_reason(error)}); start at "
                "most as many ranks on a machine as it has GPUs, and leave model.device without a number"
            ) from error
        if isinstance(error, dist.DistBackendError) and any(sign in str(error) for sign in _NCCL_CANNOT):
            raise UserError(
                f"train.shard_latents: NCCL, by which the ranks' GPUs exchange numbers, failed ({_reason(error)}); "
                "checkpoints are kept; with NCCL_DEBUG=INFO set it says why, and model.device = cpu does without it"
            ) from error
        raise Interrupted(f"another rank of this job was lost ({_reason(error)}); checkpoints are kept") from error


# what NCCL names where this machine, its network or its libraries are not as it needs them, and no rank was lost
_NCCL_CANNOT = tuple(f"nccl{name}" for name in ("InvalidUsage", "SystemError", "UnhandledCudaError", "InternalError"))


def _reason(error: BaseException) -> str:
    """Shorten an error to the line that says what happened: NCCL's own comes last, and others' first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if "Last error:" in lines[:-1] else lines[0])[:200]
