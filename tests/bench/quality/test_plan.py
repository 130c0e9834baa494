"""What is trained: everything that the comparison needs, each once, the largest groups first."""

from bench.quality.plan import ARCHITECTURES, GRIDS, SEEDS, TARGETS, TRAINERS, Scope, cells, groups


def test_every_grid_has_five_rates_and_three_k_or_four_penalties() -> None:
    assert (len(SEEDS), len(TARGETS)) == (3, 3)
    for trainer, grids in GRIDS.items():
        assert set(grids) == ({"topk"} if trainer == "sparsify" else set(ARCHITECTURES))
        for architecture, (sparsities, rates) in grids.items():
            assert len(set(rates)) == 5
            if architecture in ("topk", "batchtopk", "matryoshka"):
                assert tuple(sparsities) == TARGETS
            else:
                assert len(set(sparsities)) == 4


def test_every_cell_is_listed_once_and_grouped_once() -> None:
    found = cells(Scope())
    assert len(set(found)) == len(found) == len({cell.name for cell in found})
    grouped = groups(found)
    assert sorted(cell for group in grouped for cell in group) == sorted(found)
    more = groups([*found, *(cell._replace(seed=1) for cell in found)])
    assert len(more) == 2 * len(grouped)
    assert {len({(c.trainer, c.architecture, c.seed) for c in group}) for group in more} == {1}
    sizes = [len(group) for group in grouped]
    assert sizes == sorted(sizes, reverse=True)


def test_few_cells_keep_every_trainer_and_architecture() -> None:
    few = cells(Scope(seeds=(0,), few=True))
    assert {(c.trainer, c.architecture) for c in few} == {(c.trainer, c.architecture) for c in cells(Scope())}
    assert {c.seed for c in few} == {0}
    assert len(groups(few, apart=False)) == len(TRAINERS)
    for trainer, grids in GRIDS.items():
        topk = {c.sparsity for c in few if (c.trainer, c.architecture) == (trainer, "topk")}
        assert topk == {min(grids["topk"].sparsities), max(grids["topk"].sparsities)}
