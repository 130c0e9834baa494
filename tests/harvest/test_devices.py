"""The kind of device in sidecars and manifest: not in the fingerprint, and a mixture is said in one line."""

import json
from pathlib import Path

import pytest
import torch

from harvest.stage import harvest
from tests.experiments import load
from tests.stores import write_store
from winnow.config.experiment import Experiment
from winnow.runtime.hashes import change_hashes
from winnow.shards.fingerprint import fingerprint
from winnow.shards.manifest import mixture, name_devices, read_manifest
from winnow.shards.sidecar import read_sidecar, shard_path
from winnow.store import ActivationStore
from winnow.verify import verify

MIXED = "computed on several kinds of device (Imagined GPU, cpu), between which rows differ by rounding"


@pytest.fixture
def config(tmp_path: Path) -> Experiment:
    path = tmp_path / "toy.toml"
    toy = "rows = 50\nd_model = 4\nn_features = 6\nactive = 2.0"
    path.write_text(f'run = "{tmp_path / "run"}"\n[toy]\n{toy}\n[harvest]\nrows_per_shard = 20\n')
    return load(path)


def another(config: Experiment, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> Path:
    """Lose shards of a finished harvest, and make them again as if on a GPU."""
    folder = Path(config.run) / "activations"
    for number in numbers:
        shard_path(folder, number).with_suffix(".json").unlink()
    monkeypatch.setattr("harvest.make_shards.device_kind", lambda device: "Imagined GPU")
    harvest(config)
    monkeypatch.undo()
    return folder


def test_shards_and_manifest_name_the_device(config: Experiment, capsys: pytest.CaptureFixture[str]):
    harvest(config)
    folder = Path(config.run) / "activations"
    assert capsys.readouterr().out.startswith("harvest: computes on cpu\n")
    assert [read_sidecar(shard_path(folder, n)).device for n in range(3)] == ["cpu"] * 3  # type: ignore[union-attr]
    assert read_manifest(folder).devices == ActivationStore(folder).devices == ("cpu",)
    verify(config)
    assert "several kinds" not in capsys.readouterr().out


def test_a_mixture_is_one_line_and_no_other_store(
    config: Experiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    harvest(config)
    before = fingerprint(read_manifest(Path(config.run) / "activations").written)
    capsys.readouterr()
    folder = another(config, monkeypatch, 1)
    assert f"{folder}: {MIXED}\n" in capsys.readouterr().out
    manifest = read_manifest(folder)
    assert manifest.devices == ("Imagined GPU", "cpu")
    assert fingerprint(manifest.written) == before
    for again in (verify, harvest):
        again(config)
        assert capsys.readouterr().out.count(MIXED) == 1
    another(config, monkeypatch, 0, 2)
    assert read_manifest(folder).devices == ("Imagined GPU",)
    verify(config)


def test_shards_made_before_are_no_mixture(
    config: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    store = write_store(tmp_path / "old", {"hook": torch.randn(40, 3)})
    assert store.devices == ()
    assert "devices" not in read_manifest(store.path).written
    assert "device" not in json.loads((store.path / "shard-00000.json").read_text())
    monkeypatch.setattr("harvest.make_shards.device_kind", lambda device: "")
    harvest(config)
    monkeypatch.undo()
    change_hashes(Path(config.run), forget=["activations/manifest.json"])
    name_devices(Path(config.run) / "activations", ())
    folder = another(config, monkeypatch, 1)
    assert read_manifest(folder).devices == ("Imagined GPU",)
    verify(config)
    assert "several kinds" not in capsys.readouterr().out


def test_one_kind_is_no_mixture():
    assert mixture(()) == mixture(("cpu",)) == ""
    assert mixture(("Imagined GPU", "cpu")) == MIXED
