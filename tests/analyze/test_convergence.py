import math

import pytest

from analyze.convergence import converged, slope


def test_a_power_law_gives_its_exponent():
    rows = [1000 * i for i in range(1, 41)]
    assert slope(rows, [3 * row**-0.25 for row in rows]) == pytest.approx(-0.25)


def test_only_the_last_half_counts():
    rows = [100 * i for i in range(1, 101)]
    losses = [1 / row if row < 5000 else 0.1 for row in rows]
    assert slope(rows, losses) == pytest.approx(0, abs=1e-9)
    assert converged(slope(rows, losses)) is True


def test_a_steep_end_is_not_converged():
    assert converged(-0.3) is False


def test_too_short_a_curve_gives_no_verdict():
    assert math.isnan(slope([1, 2], [1.0, 0.5]))
    assert converged(slope([], [])) is None
    assert math.isnan(slope([1, 2, 3, 4], [1.0, None, None, 0.5]))
