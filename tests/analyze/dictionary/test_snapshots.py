"""Final features are looked up in snapshots: found where they were already, and not where they were not."""

from pathlib import Path

import pytest
import torch

from analyze.dictionary.snapshots import development, snapshot_folders
from tests.analyze.planted import orthogonal, tied
from winnow.dictionary import Dictionary, load_dictionary, save_dictionary


def trained(folder: Path) -> Dictionary:
    """Save a dictionary of 8 orthogonal features, and two snapshots: with none of them, and with half of them."""
    final = orthogonal(16)
    early, later = final[8:], torch.cat([final[:4], final[12:]]).flip(0)
    for name, decoder in (("snapshots/rows-0100", early), ("snapshots/rows-0200", later), (".", final[:8])):
        save_dictionary(tied(decoder), folder / name, {}, {})
    (folder / "snapshots" / "rows-0150").mkdir()  # one that was being written
    return load_dictionary(folder)


def test_features_are_found_from_the_snapshot_on_that_has_them(tmp_path: Path) -> None:
    found = development(trained(tmp_path), torch.ones(8, dtype=torch.bool))
    assert found["rows"] == [100, 200]
    assert found["recovered"] == [0, 0.5]
    assert found["similarity"] == pytest.approx([0, 0.5], abs=1e-6)


def test_dead_features_do_not_count(tmp_path: Path) -> None:
    dictionary = trained(tmp_path)
    assert development(dictionary, torch.arange(8) < 4)["recovered"] == [0, 1]
    assert development(dictionary, torch.zeros(8, dtype=torch.bool))["recovered"] == [None, None]


def test_a_dictionary_without_snapshots_has_no_development() -> None:
    assert snapshot_folders(tied(orthogonal(2))) == {}
    assert development(tied(orthogonal(2)), torch.ones(2).bool()) == {"rows": [], "similarity": [], "recovered": []}
