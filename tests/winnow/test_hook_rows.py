"""The rows of a hook are those of the whole tensor under the same index, also through torch's DataLoader."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, StackDataset, Subset

from tests.stores import write_store
from tests.winnow.test_row_numbers import KEYS, ROWS
from winnow.errors import UserError
from winnow.store import ActivationStore

WIDTH = 5
EVERYTHING = torch.arange(ROWS * WIDTH, dtype=torch.float32).view(ROWS, WIDTH) / 256 - 1


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    folder = tmp_path_factory.mktemp("store")
    hooks = {"a": EVERYTHING, "b": EVERYTHING[:, :2] * 2}
    return write_store(folder, hooks, context=4, rows_per_shard=12, dtype=request.param)


def expected(store: ActivationStore) -> Tensor:
    return EVERYTHING.to(getattr(torch, store.manifest["storage_dtype"])).float()


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_an_index_reads_what_it_takes_from_the_whole_tensor(store: ActivationStore, key: Any) -> None:
    found = store["a"][key]
    wanted = key.numpy() if isinstance(key, Tensor) else list(key) if isinstance(key, range) else key
    if isinstance(key, list) and not key:
        wanted = np.array([], int)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), expected(store).numpy()[wanted])


def test_a_view_tells_its_size(store: ActivationStore) -> None:
    rows = store["a"]
    assert (len(store), len(rows), rows.shape, rows.width, rows.dtype) == (
        ROWS,
        ROWS,
        (ROWS, WIDTH),
        WIDTH,
        torch.float32,
    )
    assert repr(rows) == f"HookRows('a', 28 rows of 5, path={str(store.path)!r})"
    assert "a" in store
    assert "c" not in store
    assert torch.equal(torch.stack(list(rows)), expected(store))


def test_a_store_is_indexed_by_hook(store: ActivationStore) -> None:
    with pytest.raises(UserError, match="no hook c; there are a, b"):
        store["c"]
    with pytest.raises(TypeError, match="not iterable"):
        iter(store)  # type: ignore[call-overload]


def test_a_row_that_does_not_exist_names_store_and_hook(store: ActivationStore) -> None:
    with pytest.raises(IndexError, match=rf"{store.path}: a: row 28 of 28"):
        store["a"][[0, 28]]
    with pytest.raises(IndexError, match="row -29 of 28"):
        store["a"].__getitems__([-29])


def gathered(loader: DataLoader) -> Tensor:
    found = torch.cat(list(loader))
    return found[found[:, 0].argsort()]


def test_a_data_loader_gives_every_row_once(store: ActivationStore) -> None:
    generator = torch.Generator().manual_seed(0)
    shuffled = DataLoader(store["a"], batch_size=8, shuffle=True, generator=generator)
    assert [len(batch) for batch in shuffled] == [8, 8, 8, 4]
    assert torch.equal(gathered(shuffled), expected(store))
    assert torch.equal(torch.cat(list(DataLoader(store["a"], batch_size=8))), expected(store))
    sampler = BatchSampler(RandomSampler(store["a"], generator=generator), 8, drop_last=False)
    assert torch.equal(gathered(DataLoader(store["a"], sampler=sampler, batch_size=None)), expected(store))


def test_workers_read_the_same_rows(store: ActivationStore) -> None:
    store["a"][0]  # opens a file, which the workers do not share
    assert torch.equal(pickle.loads(pickle.dumps(store["a"]))[3:9], store["a"][3:9])  # as a spawned worker gets it
    assert torch.equal(torch.cat(list(DataLoader(store["a"], batch_size=8, num_workers=2))), expected(store))


def test_views_of_two_hooks_go_together(store: ActivationStore) -> None:
    pairs = DataLoader(StackDataset(Subset(store["a"], range(3, 9)), Subset(store["b"], range(3, 9))), batch_size=4)
    first, second = (torch.cat(column) for column in zip(*pairs, strict=True))
    assert torch.equal(first, store["a"][3:9])
    assert torch.equal(second, store["b"][3:9])


def test_only_what_is_asked_for_is_read(store: ActivationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = ActivationStore.read_runs_into

    def noted(self: ActivationStore, out: Tensor, hook: str, starts: np.ndarray, counts: np.ndarray) -> None:
        read.append((starts.tolist(), counts.tolist()))
        original(self, out, hook, starts, counts)

    monkeypatch.setattr(ActivationStore, "read_runs_into", noted)
    store["a"][[9, 3, 4, 4, 20, 5]]
    assert read == [([9, 3, 4, 20, 5], [1, 2, 1, 1, 1])]
