"""The trainer's verdict, read and never computed."""

import pytest

from analyze.dictionary.convergence import convergence
from tests.analyze.planted import orthogonal, tied
from winnow.dictionary import Dictionary

SETTINGS = {"slope_bound": 0.05, "similarity_bound": 0.9, "decay": 0.2}


def trained(**record: object) -> Dictionary:
    """A dictionary whose training.json has this verdict."""
    dictionary = tied(orthogonal(8))
    dictionary.provenance = {"rows": 40_000, "settings": SETTINGS, "convergence": record}
    return dictionary


def test_the_verdict_is_the_trainers_even_where_the_numbers_would_say_otherwise() -> None:
    for verdict in (True, False):
        found = convergence(trained(slope=-0.5, self_similarity=0.1, converged=verdict, reason="ceiling"))
        assert found is not None
        assert (found["slope"], found["self_similarity"], found["converged"]) == (-0.5, 0.1, verdict)
        assert (found["reason"], found["held_at"]) == ("ceiling", None)


def test_a_dictionary_from_elsewhere_has_none() -> None:
    assert convergence(tied(orthogonal(8))) is None


def test_the_caveat_puts_the_numbers_beside_the_bounds() -> None:
    found = convergence(trained(slope=-0.125, self_similarity=0.95, converged=False, reason="rows"))
    assert found is not None
    assert found["caveat"] == "slope -0.12 (at most ±0.05), self-similarity 0.95 (at least 0.9)"
    unknown = convergence(trained(slope=None, self_similarity=None, converged=False, reason="rows"))
    assert unknown is not None
    assert unknown["caveat"] == "slope not measured, self-similarity not measured"
    done = convergence(trained(slope=0.0, self_similarity=1.0, converged=True, reason="rows"))
    assert done is not None
    assert done["caveat"] is None


def test_where_the_rule_held_is_before_the_rate_fell() -> None:
    found = convergence(trained(slope=-0.01, self_similarity=0.95, converged=True, reason="converged"))
    assert found is not None
    assert found["held_at"] == pytest.approx(32_000)


def test_what_stalled_is_said_with_its_numbers_and_the_remedy() -> None:
    numbers = {"fvu": 3.0, "start_similarity": 0.99987, "loss_share": 0.98}
    still = {"slope": 0.0, "self_similarity": 1.0, "reason": "rows"}
    found = convergence(trained(**still, **numbers, converged=False, stalled=True))
    assert found is not None
    assert found["stalled"] is True
    assert found["caveat"] == (
        "stalled: it stands still and has not learned (held-out FVU 3, cosine with its start 0.9999, "
        "loss, divided by the start's, 0.98); raise learning_rate"
    )
