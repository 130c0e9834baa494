"""The tables: winnow beside the best peer, every trainer in its column, and nothing that was not measured."""

from bench.quality.matching import Matched
from bench.quality.plan import Cell
from bench.quality.results import against_best_peer, as_markdown, match_all, other_seeds
from bench.quality.rows import Quality


def at(fvu: float, *, edge: bool = False) -> Matched:
    return Matched(fvu, 0.001, 4e-3, edge, 0.0, 3)


TABLE = {
    ("winnow", "relu", 12): at(0.300),
    ("sae_lens", "relu", 12): at(0.310),
    ("dictionary_learning", "relu", 12): at(0.299, edge=True),
    ("winnow", "relu", 24): at(0.25),
    ("winnow", "topk", 24): at(0.20),
    ("sparsify", "topk", 24): at(0.19),
    ("sae_lens", "gated", 48): at(0.15),
}


def test_winnow_stands_beside_the_best_peer() -> None:
    rows = {row.what: row for row in against_best_peer(TABLE)}
    assert set(rows) == {"relu, L0 12 : dictionary_learning", "topk, L0 24 : sparsify"}
    within, beyond = rows["relu, L0 12 : dictionary_learning"], rows["topk, L0 24 : sparsify"]
    assert (within.speed, within.reference, within.met) == (0.300, 0.299, True)  # 0.3 % above the lowest
    assert (beyond.speed, beyond.reference, beyond.met) == (0.20, 0.19, False)


def test_table_has_a_line_for_what_was_measured_and_a_dash_for_what_was_not() -> None:
    lines = list(as_markdown(TABLE))
    assert lines[0] == "| | L0 | winnow | sae_lens | dictionary_learning | sparsify |"
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| relu", "12"],
        ["| relu", "24"],
        ["| topk", "24"],
        ["| gated", "48"],
    ]
    assert "0.3000 ± 0.0010, 0.004 |" in lines[2]
    assert "**0.2990** ± 0.0010, 0.004 (edge)" in lines[2]
    assert lines[5].count("–") == 3


def test_cells_are_matched_by_trainer_and_architecture() -> None:
    measured = {
        Cell(trainer, architecture, k, 1e-3, 0): Quality(fvu, k, 0.0)
        for (trainer, architecture), fvu in {("winnow", "topk"): 0.2, ("sparsify", "topk"): 0.3}.items()
        for k in (12.0, 48.0)
    }
    found = match_all(measured)
    assert {key: matched.fvu for key, matched in found.items() if key[2] == 12} == {
        ("winnow", "topk", 12): 0.2,
        ("sparsify", "topk", 12): 0.3,
    }
    assert {key[2] for key in found} == {12, 24, 48}


def test_other_seeds_get_every_sparsity_at_the_best_rates() -> None:
    """Rate 1 is best at L0 12, rate 2 at 48, rate 3 nowhere."""
    fvus = {(1.0, 12.0): 0.3, (1.0, 48.0): 0.2, (2.0, 12.0): 0.4, (2.0, 48.0): 0.1, (3.0, 12.0): 0.5, (3.0, 48.0): 0.4}
    measured = {Cell("winnow", "topk", k, rate, 0): Quality(fvu, k, 0.0) for (rate, k), fvu in fvus.items()}
    found = other_seeds(measured, (1, 2))
    assert len(found) == len(set(found)) == 8
    assert {(cell.rate, cell.sparsity, cell.seed) for cell in found} == {
        (rate, k, seed) for rate in (1.0, 2.0) for k in (12.0, 48.0) for seed in (1, 2)
    }
    assert other_seeds(measured, ()) == []
