"""What goes wrong between ranks is said in one line, with what to do."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from train.collectives import RankCollectives, joined
from winnow.errors import UserError
from winnow.runtime.ranks import Ranks
from winnow.runtime.stage import Interrupted

NCCL = """NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, {kind} (run with NCCL_DEBUG=WARN for details), NCCL version 2.27.3
{name}: {words}
Last error:
{last}"""  # noqa: E501 - as torch writes it
DUPLICATE = NCCL.format(
    kind="invalid usage",
    name="ncclInvalidUsage",
    words="This usually reflects invalid usage of NCCL library.",
    last="Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1b000",
)
NO_NETWORK = NCCL.format(
    kind="unhandled system error",
    name="ncclSystemError",
    words="System call (e.g. socket, malloc) or external library call failed or device error.",
    last="socketStartConnect: Connect to 10.0.0.7<45411> failed : No route to host",
)
LOST = NCCL.format(
    kind="remote process exited or there was a network error",
    name="ncclRemoteError",
    words="A call failed possibly due to a network error or a remote process exiting prematurely.",
    last="socketProgress: Connection closed by remote peer node2<38224>",
)


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> RankCollectives:
    """Pretend to be the second of two."""
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    return RankCollectives()


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (
            dist.DistBackendError(DUPLICATE),
            UserError,
            r"two ranks have the same GPU, which NCCL refuses \(Duplicate GPU detected : rank 1 and rank 0 .*1b000\); "
            "start at most as many ranks on a machine as it has GPUs",
        ),
        (
            dist.DistBackendError(NO_NETWORK),
            UserError,
            r"NCCL, by which the ranks' GPUs exchange numbers, failed \(socketStartConnect: .* No route to host\); "
            "checkpoints are kept; with NCCL_DEBUG=INFO set it says why",
        ),
        (
            dist.DistBackendError(LOST),
            Interrupted,
            r"another rank of this job was lost \(socketProgress: Connection closed by .*\); checkpoints are kept",
        ),
        (RuntimeError("[gloo] Connection closed by peer\nmore"), Interrupted, r"was lost \(\[gloo\] Conn[^)]*peer\);"),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError, "CUDA out of memory"),
    ],
    ids=["one GPU for two", "no network", "a rank gone", "gloo", "no memory"],
)
@pytest.mark.parametrize("call", ["all_reduce", "smallest", "all_gather", "gather"])
def test_what_broke_is_said_in_one_line(
    ranks: RankCollectives,
    call: str,
    error: Exception,
    raised: type[Exception],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: Any) -> None:
        raise error

    for name in ("all_reduce", "all_gather", "gather"):
        monkeypatch.setattr(dist, name, broken)
    with pytest.raises(raised, match=said) as caught:
        getattr(ranks, call)(torch.zeros(2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [dist.DistStoreError("Timed out after 1801 seconds waiting"), ValueError("no port")])
def test_ranks_that_do_not_meet_say_where(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(dist, "init_process_group", broken)
    monkeypatch.setenv("MASTER_ADDR", "node7")
    monkeypatch.setenv("MASTER_PORT", "29500")
    where = r"rank 1 did not meet the other ranks, 4 in all, at node7:29500 \([^)]+\); start all of them, with the same"
    with pytest.raises(UserError, match=where), joined(Ranks(1, 4, 1)):
        pass
