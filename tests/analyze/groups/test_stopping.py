"""Where the rule of convergence stopped, against a training of the same dictionary that went on."""

from typing import Any

import pytest

from analyze.groups.stopping import stopping


def entry(path: str, rows: int, recovered: list[float], reason: str = "rows", **changes: Any) -> dict[str, Any]:
    seen = [rows >> i for i in reversed(range(len(recovered)))]
    return {
        **{"path": path, "hook": "toy", "architecture": "topk", "n_latents": 64, "sparsity": {"k": 8}, "seed": 0},
        **{"learning_rate": 1e-3, "options": {"run": path}, "rows": rows},
        "convergence": {"reason": reason, "held_at": 0.8 * rows if reason == "converged" else None},
        "truth": {"recovered": recovered[-1], "snapshots": {"rows": seen, "recovered": recovered}},
        **changes,
    }


def test_the_rule_is_held_against_the_longest_training_of_the_same() -> None:
    stopped = entry("a", 1024, [0.2, 0.6, 0.6], "converged")
    shorter = entry("b", 512, [0.1, 0.2, 0.3])
    longer = entry("c", 4096, [0.2, 0.4, 0.4, 0.5, 0.75])
    other = entry("d", 9999, [0.9], n_latents=128)
    (said,) = stopping([stopped, shorter, longer, other])
    assert (said["path"], said["twin"], said["twin_rows"]) == ("a", "c", 4096)
    assert (said["held_at"], said["rows"]) == (pytest.approx(819.2), 1024)
    assert said["recovered_at"] == pytest.approx(0.6)
    assert (said["recovered"], said["final"], said["share"]) == (0.6, 0.75, pytest.approx(0.8))
    assert 2048 < said["improved_until"] < 4096  # 0.95 of 0.75


def test_without_a_longer_training_its_own_end_is_all_there_is() -> None:
    (said,) = stopping([entry("a", 1024, [0.5, 0.99, 1.0], "converged")])
    assert said["twin"] is None
    assert (said["final"], said["share"]) == (1, 1)
    assert 256 < said["improved_until"] < 512


def test_what_the_rule_did_not_end_or_has_no_truth_is_left_out() -> None:
    unknown = {**entry("b", 1024, [1.0], "converged"), "truth": None}
    assert stopping([entry("a", 1024, [1.0]), unknown, entry("c", 1024, [1.0], "ceiling")]) == []
    (nothing,) = stopping([entry("a", 1024, [0.0, 0.0], "converged")])
    assert nothing["share"] is None
    assert nothing["improved_until"] is None
