"""Which dictionaries are of a kind, and which follow one another in size or seed."""

from typing import Any

import pytest

from analyze.ladders import group_by_kind, kind_of, ladder_of, neighbouring_seeds, neighbouring_sizes

ONE: dict[str, Any] = {
    **{"path": "one", "hook": "h", "architecture": "topk", "n_latents": 64, "sparsity": {"k": 8}, "seed": 0},
    **{"options": {"run": "a", "initialisation": "pca", "widths": [16, 64]}, "learning_rate": 1e-3, "rows": 1000},
}
CHANGES: dict[str, dict[str, Any]] = {
    **{"hook": {"hook": "g"}, "architecture": {"architecture": "relu"}, "n_latents": {"n_latents": 128}},
    **{"sparsity": {"sparsity": {"k": 16}}, "seed": {"seed": 1}, "learning_rate": {"learning_rate": 2e-3}},
    "rows": {"rows": 2000},
    "run": {"options": {**ONE["options"], "run": "b"}},
    "initialisation": {"options": {**ONE["options"], "initialisation": "random"}},
    "widths": {"options": {**ONE["options"], "widths": [32, 64]}},
}


@pytest.mark.parametrize("changed", CHANGES)
@pytest.mark.parametrize("named", [*CHANGES, "options"])
def test_a_kind_is_all_but_the_named_fields(changed: str, named: str) -> None:
    other = {**ONE, **CHANGES[changed], "path": "another"}
    is_option = changed in ONE["options"]
    same = named == changed or (named == "options" and is_option)
    assert (kind_of(other, but=(named,)) == kind_of(ONE, but=(named,))) == same
    assert kind_of(other, but=()) != kind_of(ONE, but=())


def test_mixed_dictionaries_are_gathered_in_their_order() -> None:
    mixed = [{**ONE, **change, "path": name} for name, change in CHANGES.items()]
    paths = [[entry["path"] for entry in alike] for alike in group_by_kind([ONE, *mixed], but=("seed", "rows", "run"))]
    rest = ["hook", "architecture", "n_latents", "sparsity", "learning_rate", "initialisation", "widths"]
    alone = [[name] for name in rest]
    assert paths == [["one", "seed", "rows", "run"], *alone]
    assert group_by_kind([], but=()) == []


def test_the_order_of_keys_and_missing_options_do_not_matter() -> None:
    turned = {**ONE, "options": dict(reversed(ONE["options"].items()))}
    assert kind_of(turned, but=()) == kind_of(ONE, but=())
    bare = {key: value for key, value in ONE.items() if key != "options"}
    assert (
        kind_of(bare, but=()) == kind_of({**bare, "options": None}, but=()) == kind_of({**bare, "options": {}}, but=())
    )
    assert kind_of({**ONE, "sparsity": {"l1_coefficient": 8}}, but=()) != kind_of(ONE, but=())


def test_a_ladder_is_a_kind_of_any_size_rate_and_rows() -> None:
    ladder = ladder_of(ONE)
    for changed, change in CHANGES.items():
        same = changed in ("n_latents", "learning_rate", "rows")
        assert (ladder_of({**ONE, **change}) == ladder) == same, changed
    assert ladder.label == "h · topk · initialisation pca · run a · widths [16, 64] · k 8 · seed 0"
    assert ladder_of({**ONE, "seed": None}) == ladder


def test_neighbouring_seeds_share_all_but_their_seed() -> None:
    seeds = [{**ONE, "seed": seed, "rows": rows, "path": f"{seed}"} for seed, rows in ((2, 10), (0, 20), (5, 30))]
    others = [{**ONE, "seed": 1, "n_latents": 128}, {**ONE, "seed": None}]
    found = [(a["path"], b["path"]) for a, b in neighbouring_seeds([*seeds, *others])]
    assert found == [("0", "2"), ("2", "5")]


def test_neighbours_share_all_but_their_size() -> None:
    def entry(path, n, k=32, seed=0, hook="a"):
        return {
            "path": path,
            "hook": hook,
            "architecture": "topk",
            "sparsity": {"k": k},
            "seed": seed,
            "n_latents": n,
        }

    entries = [entry("c", 512), entry("a", 128), entry("b", 256), entry("d", 256, k=8), entry("e", 512, hook="b")]
    assert [(x["path"], y["path"]) for x, y in neighbouring_sizes(entries)] == [("a", "b"), ("b", "c")]


def test_options_separate_ladders_and_learning_rates_only_where_nothing_else_does() -> None:
    def entry(path, n, **more):
        kind = {"hook": "x", "architecture": "relu", "sparsity": {"l1_coefficient": 1.0}, "seed": 0}
        return {"path": path, "n_latents": n, **kind, **more}

    tied = [entry("a", 64, options={"tied": True}), entry("b", 128, options={}), entry("c", 256, options={})]
    assert [(x["path"], y["path"]) for x, y in neighbouring_sizes(tied)] == [("b", "c")]
    by_size = [entry("a", 64, learning_rate=2e-3), entry("b", 128, learning_rate=1e-3)]
    assert len(neighbouring_sizes(by_size)) == 1
    swept = [entry(f"{n}-{rate}", n, learning_rate=rate) for n in (64, 128) for rate in (1e-3, 2e-3)]
    assert [(x["path"], y["path"]) for x, y in neighbouring_sizes(swept)] == [
        ("64-0.001", "128-0.001"),
        ("64-0.002", "128-0.002"),
    ]
