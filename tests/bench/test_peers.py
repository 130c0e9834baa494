"""Benchmarks against peers: a trainer in a process of its own takes steps when asked, and says why it cannot."""

import pytest

from bench.peers import MATCHES, Trainer
from winnow.errors import UserError

pytestmark = pytest.mark.bench

SIZES = (32, 8, 64, 4)


def test_trainer_takes_a_step_when_asked() -> None:
    with Trainer("winnow/topk/float32", SIZES) as ours:
        assert ours.step() > 0
        assert ours.step() > 0


def test_trainer_that_cannot_start_says_why() -> None:
    with pytest.raises(UserError, match=r"winnow/lasso/float32 stopped:\n(.|\n)*KeyError: 'lasso'"):
        Trainer("winnow/lasso/float32", SIZES)


def test_every_target_has_a_row() -> None:
    """float32 ≥ 5 × SAELens and ≥ 1.5 × sparsify, bfloat16 ≥ 5 × SAELens' autocast; for batchtopk as for topk."""
    targets = {match.peer: match.target for match in MATCHES}
    assert {name: targets[name] for name in targets if "topk" in name and "learning" not in name} == {
        "sae_lens/topk/float32": 5.0,
        "sae_lens/batchtopk/float32": 5.0,
        "sparsify/topk/float32": 1.5,
        "sae_lens/topk/bfloat16": 5.0,
    }
