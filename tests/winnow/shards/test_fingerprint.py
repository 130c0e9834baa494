"""Manifests of older versions keep their fingerprint and their settings."""

import json
from typing import Any

import pytest

from tests.experiments import ROOT
from winnow.shards.fingerprint import LEGACY_NAMES, fingerprint, fingerprints, made_with

RUN = ROOT / "tests" / "made_before" / "run"
FINGERPRINT = "f4ef057f296c6f99"  # in the training.json that commit e1e5eee wrote
PROSE = "harvested sequences (those of text.tokens less analyze.evaluation_sequences)"


@pytest.fixture
def manifest() -> dict[str, Any]:
    return json.loads((RUN / "activations" / "manifest.json").read_text())


def test_a_manifest_made_before_keeps_its_fingerprint(manifest: dict[str, Any]) -> None:
    assert fingerprint(manifest) == FINGERPRINT


def test_a_manifest_of_today_has_the_fingerprint_of_the_same_store_made_before(manifest: dict[str, Any]) -> None:
    manifest["settings"]["harvested_sequences"] = manifest["settings"].pop(PROSE)
    assert fingerprint(manifest) == FINGERPRINT


def test_a_setting_of_old_has_its_name_of_today(manifest: dict[str, Any]) -> None:
    assert PROSE in LEGACY_NAMES
    assert made_with(manifest)["harvested_sequences"] == 93
    assert PROSE not in made_with(manifest)


def test_keys_that_are_added_later_do_not_change_the_fingerprint(manifest: dict[str, Any]) -> None:
    manifest["made_by"] = "a later version"
    for table in ("model", "tokens", "positions", "settings"):
        manifest[table]["later"] = 1
    assert fingerprint(manifest) == FINGERPRINT


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("model", "weights_sha256", "0"),
        ("tokens", "fingerprint", "0"),
        ("positions", "skip_first", 1),
        ("hooks", "blocks.0.hook_resid_post", 128),
        ("settings", "harvest.sequences_per_batch", 16),
        ("settings", PROSE, 92),
    ],
)
def test_other_activations_have_another_fingerprint(
    manifest: dict[str, Any], table: str, key: str, value: object
) -> None:
    manifest[table][key] = value
    assert fingerprint(manifest) != FINGERPRINT


def test_how_model_and_text_are_named_does_not_enter_the_fingerprint(manifest: dict[str, Any]) -> None:
    """Since the model's configuration is known; a store made before is known by its older fingerprint too."""
    manifest["model"]["config_sha256"] = "0" * 64
    new, older = fingerprints(manifest)
    assert older == FINGERPRINT
    assert fingerprint(manifest) == new
    for table, key in (("model", "name"), ("model", "revision"), ("model", "commit"), ("settings", "model.name")):
        manifest[table][key] = "another"
    manifest |= {"tokenizer": "another", "text": "another", "text_commit": "another"}
    assert fingerprint(manifest) == new
    assert fingerprints(manifest)[1] != older
    for key in ("config_sha256", "weights_sha256", "dtype"):
        changed = {**manifest, "model": {**manifest["model"], key: "1"}}
        assert fingerprint(changed) != new
    assert fingerprint({**manifest, "tokens": {**manifest["tokens"], "fingerprint": "1"}}) != new


def test_toy_data_and_older_manifests_have_one_fingerprint(manifest: dict[str, Any]) -> None:
    assert fingerprints(manifest) == (FINGERPRINT,)
    toy = {"toy": {"rows": 3, "directions_sha256": "0"}, "hooks": {"toy": 4}, "settings": {}}
    assert fingerprints(toy) == (fingerprint(toy),)
