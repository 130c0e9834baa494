"""Groups of seeds, against scipy's own tests and numbers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analyze.groups.seeds import differences, geometric, groups, holm, student, welch


def entry(seed: int, initialisation: str = "random", n: int = 64, rows: float | None = 1000.0) -> dict[str, Any]:
    return {
        "path": f"{initialisation}-{n}-{seed}",
        **{"hook": "toy", "architecture": "topk", "n_latents": n, "sparsity": {"k": 8}, "seed": seed},
        **{"options": {"initialisation": initialisation, "b_dec": "mean"}, "learning_rate": 1e-3},
        **{"fvu": 0.1 + seed / 100, "l0": 8.0},
        "truth": {"rows_to_half": rows, "recovered": 0.9, "mmcs_corrected": 0.8},
    }


def test_a_group_is_what_differs_in_its_seed_alone() -> None:
    entries = [entry(1), entry(0), entry(0, "kmeans"), entry(1, "kmeans"), entry(0, n=128)]
    found = groups(entries)
    assert [(g["options"]["initialisation"], g["n_latents"], g["seeds"]) for g in found] == [
        ("random", 64, [0, 1]),
        ("kmeans", 64, [0, 1]),
    ]
    assert found[0]["paths"] == ["random-64-0", "random-64-1"]
    assert found[0]["fvu"]["mean"] == pytest.approx(0.105)
    assert found[0]["fvu"]["known"] == 2


def test_the_interval_is_students() -> None:
    values = [3.0, 5.0, 4.0, 8.0, 1.0]
    found = student(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found == pytest.approx((4.2, low, high))
    assert math.isnan(student([1.0]).low)


def test_two_groups_are_compared_by_welch() -> None:
    a, b = [1.0, 2.0, 4.0], [5.0, 5.5, 7.0, 9.0, 30.0]
    # Welch's own formulas: variances 7/3 and 111.7
    errors = 7 / 9, 111.7 / 5
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / 2 + errors[1] ** 2 / 4)
    mean, error = 11.3 - 7 / 3, math.sqrt(sum(errors))
    reach = stats.t.ppf(0.975, freedom) * error
    p = 2 * stats.t.sf(mean / error, freedom)
    assert welch(a, b) == pytest.approx({"mean": mean, "low": mean - reach, "high": mean + reach, "p": p})
    # where one group has no spread, the other's decides: Student's interval around its mean
    assert welch([1.0, 1.0, 1.0], b)["low"] == pytest.approx(student(b).low - 1)
    assert welch([1.0, 1.0], [1.0, 1.0]) == {"mean": 0, "low": 0, "high": 0, "p": 1}
    assert welch([1.0, 1.0], [2.0, 2.0])["p"] == 0


def test_holm_multiplies_the_smallest_by_all_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]


def test_a_mean_over_those_that_got_there_is_not_shown() -> None:
    (group,) = groups([entry(0), entry(1, rows=None), entry(2)])
    assert group["rows_to_half"]["known"] == 2
    assert math.isnan(group["rows_to_half"]["mean"])
    (never,) = groups([entry(0, rows=None), entry(1, rows=None)])
    assert never["rows_to_half"] is None
    bare = [{**entry(seed), "truth": None} for seed in (0, 1)]
    assert groups(bare)[0]["recovered"] is None


def test_groups_that_differ_in_one_option_are_compared_and_judged_together() -> None:
    rows = {"random": [1000, 1100, 1050], "kmeans": [400, 420, 380], "pca": [990, 1110, 1040]}
    entries = [entry(seed, kind, rows=float(r)) for kind, all_rows in rows.items() for seed, r in enumerate(all_rows)]
    entries += [entry(seed, "kmeans", n=128, rows=None) for seed in (0, 1)]
    found = groups(entries)
    said = [d for d in differences(entries, found) if d["of"] == "rows_to_half"]
    assert [(d["from"], d["to"], d["option"]) for d in said] == [
        (0, 1, "initialisation"),
        (0, 2, "initialisation"),
        (1, 2, "initialisation"),
    ]
    assert all(d["factor"] for d in said)
    expected = (400 * 420 * 380 / (1000 * 1100 * 1050)) ** (1 / 3)
    assert said[0]["mean"] == pytest.approx(expected)
    assert said[0]["high"] < 1 < said[2]["low"]
    assert said[1]["low"] < 1 < said[1]["high"]
    assert found[1]["rows_to_half"]["mean"] == pytest.approx((400 * 420 * 380) ** (1 / 3))
    assert found[1]["rows_to_half"]["low"] == pytest.approx(geometric([400.0, 420.0, 380.0]).low)
    np.testing.assert_allclose([d["p_adjusted"] for d in said], holm([d["p"] for d in said]))
    assert all(d["p_adjusted"] == 1 for d in differences(entries, found) if d["of"] == "recovered")


def test_what_differs_in_more_than_one_option_is_not_compared() -> None:
    others = [entry(seed, "kmeans") for seed in (0, 1)]
    for other in others:
        other["options"]["b_dec"] = "geometric_median"
    entries = [entry(0), entry(1), *others]
    assert differences(entries, groups(entries)) == []
