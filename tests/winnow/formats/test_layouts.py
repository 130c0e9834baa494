"""What is said of a folder that is no dictionary: what is there, whose it looks like, and what may be meant."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.winnow.formats.test_foreign import write_ae, write_sparsify
from tests.winnow.test_dictionary import dictionary, tensors, write_saelens
from winnow.dictionary import load_dictionary, save_dictionary
from winnow.errors import UserError
from winnow.formats.layouts import dictionaries_below, hub_address
from winnow.hub import _nearby


def refusal(path: Path | str) -> str:
    """The one line in which a path is refused, without the path at its beginning."""
    with pytest.raises(UserError) as refused:
        load_dictionary(path)
    said = str(refused.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["params.npz"], "params.npz, which looks like Gemma Scope's; winnow does not read that layout; SAELens reads"),
        (["params.safetensors", "config.json"], "params.safetensors, which looks like Gemma Scope 2's;"),
        (["hyperparams.json", "lm_config.json"], "hyperparams.json, which looks like Llama Scope's;"),
        (["layer12.sae.pt"], "layer12.sae.pt, which looks like Qwen-Scope's;"),
        (
            ["sae_weights.pt", "notes.txt"],
            "which looks like SAELens' from before it wrote safetensors;",
        ),
        (
            ["config.json", "model.safetensors"],
            "and model.safetensors, which look like a language model's;",
        ),
        (["manifest.json", "shard-00000.h5"], "manifest.json and shard-00000.h5, which look like winnow's activations"),
        (["W_enc_0.safetensors", "W_dec_0.safetensors"], "which looks like a cross-layer transcoder's;"),
        (["a.txt", "b.txt"], "a.txt, b.txt, which is no layout that winnow knows (docs/guide/interop.md)"),
        (list("abcdefgh"), "a, b, c, d, e and 3 more, which is no layout"),
        ([], "an empty folder"),
    ],
    ids=str,
)
def test_a_folder_in_no_known_layout_says_whose_it_looks_like(names: list[str], found: str, tmp_path: Path) -> None:
    expected = "expected a dictionary of winnow, SAELens, dictionary_learning or sparsify, found "
    said = refusal(touch(tmp_path, *names))
    assert said.startswith(expected)
    assert found in said


@pytest.mark.parametrize(
    ("name", "config", "missing"),
    [
        ("cfg.json", {"architecture": "standard", "d_in": 6, "d_sae": 10, "metadata": {}}, "sae_weights.safetensors"),
        ("cfg.json", {"d_in": 6, "num_latents": 0, "expansion_factor": 2, "k": 3}, "sae.safetensors"),
        ("config.json", {"trainer": {"dict_class": "AutoEncoder", "activation_dim": 6, "dict_size": 10}}, "ae.pt"),
    ],
)
def test_a_configuration_tells_whose_weights_are_missing(name: str, config: dict, missing: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"{re.escape(missing)}: no such file; the dictionary is incomplete"):
        load_dictionary(tmp_path)


def test_folders_below_that_are_dictionaries_are_named(tmp_path: Path) -> None:
    for number in range(7):
        write_saelens(tmp_path / "layer" / f"d{number}", tensors("b_enc"))
    (tmp_path / "trainer_0").mkdir()
    write_ae(tmp_path / "trainer_0")
    assert refusal(tmp_path) == (
        "expected one dictionary, found those in layer/d0, layer/d1, layer/d2, layer/d3, layer/d4 and 3 more; "
        "give one of these folders"
    )


def test_a_run_and_a_training_that_goes_on_are_known(tmp_path: Path) -> None:
    save_dictionary(dictionary(), tmp_path / "run" / "dictionaries" / "blocks.0.hook_resid_post" / "d", {}, {})
    assert refusal(tmp_path / "run") == (
        "expected a dictionary, found a run; winnow.load_dictionaries opens its dictionaries"
    )
    touch(tmp_path / "begun", "metrics.jsonl", "checkpoints/rows-10/state.json")
    unfinished = "expected a dictionary, found one whose training is not finished; run make train"
    assert refusal(tmp_path / "begun") == unfinished
    write_saelens(tmp_path / "begun" / "snapshots" / "rows-5", tensors("b_enc"))
    assert refusal(tmp_path / "begun") == f"{unfinished}; there are dictionaries in snapshots/rows-5"


def test_two_programs_files_in_one_folder_are_not_guessed_between(tmp_path: Path) -> None:
    write_saelens(tmp_path, tensors("b_enc"))
    write_ae(tmp_path)
    assert refusal(tmp_path) == (
        "expected one dictionary, found sae_weights.safetensors of SAELens and ae.pt of dictionary_learning; "
        "keep each in a folder of its own"
    )


def test_a_file_in_place_of_its_folder_names_the_folder(tmp_path: Path) -> None:
    write_sparsify(tmp_path)
    for name in ("sae.safetensors", "cfg.json"):
        said = f"expected the folder of a dictionary, found a file of one; give {tmp_path}"
        assert refusal(tmp_path / name) == said
    assert refusal(touch(tmp_path, "x.bin") / "x.bin") == "expected the folder of a dictionary, found a file"
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == "expected the folder of a dictionary, found a FIFO"
    assert refusal("/dev/null") == "expected the folder of a dictionary, found a device"


def test_a_folder_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    save_dictionary(dictionary(), tmp_path / "topk-10-k3-lr0.004-seed0", {}, {})
    said = refusal(tmp_path / "topk-10-k3-seed0")
    assert said == "no such folder; did you mean topk-10-k3-lr0.004-seed0?"
    assert refusal(tmp_path / "none" / "nothing") == "no such folder; give the folder of a dictionary"


@pytest.mark.parametrize("name", ["owner/name", "owner/name/layer.8/d0", "EleutherAI/sae-llama-3-8b@main"])
def test_a_name_on_the_hub_without_hf_is_recognised(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(name) == f"no such folder; if it is a name on the Hugging Face Hub, write hf:{name}"
    (tmp_path / name.split("/")[0]).mkdir()
    assert "Hugging Face" not in refusal(name)  # a folder of that name is meant


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("https://huggingface.co/owner/name", "hf:owner/name"),
        ("https://huggingface.co/owner/name/tree/main/layer_8/d", "hf:owner/name/layer_8/d"),
        ("https://hf.co/owner/name/tree/v1", "hf:owner/name@v1"),
        ("https://huggingface.co/owner/name/tree/v1/d/?x=1", "hf:owner/name/d@v1"),
        ("https://example.com/owner/name", None),
        ("runs/demo", None),
    ],
)
def test_a_page_of_the_hub_becomes_an_address(page: str, address: str | None) -> None:
    assert hub_address(page) == address
    if address:
        assert refusal(page) == f"expected a folder, or hf:OWNER/NAME/FOLDER; for this page write {address}"


def test_the_search_below_a_folder_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    write_saelens(tmp_path / "a" / "b" / "c" / "d", tensors("b_enc"))
    write_saelens(tmp_path / "a" / "b" / "c" / "d" / "deep", tensors("b_enc"))
    assert list(dictionaries_below(tmp_path)) == [tmp_path / "a" / "b" / "c" / "d"]
    monkeypatch.setattr("winnow.formats.layouts.SEEN", 2)
    assert list(dictionaries_below(tmp_path)) == []


def test_a_repository_on_the_hub_says_whose_layout_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["layer_3/params.npz", "ours/cfg.json", "theirs/ae.pt", "README.md"]
    monkeypatch.setattr("winnow.hub.HfApi.list_repo_files", lambda *arguments, **named: files)
    assert _nearby("owner/name", "main", "layer_3") == "; there is params.npz, which looks like Gemma Scope's"
    assert _nearby("owner/name", "main", "our") == "; did you mean ours?"
    assert _nearby("owner/name", "main", "") == "; there are ours, theirs"


def test_an_address_does_not_leave_its_repository() -> None:
    with pytest.raises(UserError, match=r"hf:owner/name/\.\./other: expected hf:OWNER/NAME/FOLDER"):
        load_dictionary("hf:owner/name/../other")
