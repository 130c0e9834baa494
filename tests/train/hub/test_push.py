"""Pushing dictionaries to a hub on this machine, and what reads them back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from analyze.schema.metrics import shown
from tests.experiments import ROOT
from tests.forked import Client, Done, connect
from tests.hub import TOKEN, Hub, serve
from train.hub.card import card
from winnow.dictionary import Dictionary, save_dictionary
from winnow.runtime.to_json import to_json

pytestmark = pytest.mark.hub

HOOK = "blocks.1.hook_resid_post"
NAMES = ("topk-8-k2-seed0", "topk-16-k2-seed0")
REPOSITORY = "someone/some-saes"
PATH = f"{REPOSITORY}/{HOOK}/{NAMES[0]}"
MODEL = {"name": "openai-community/gpt2", "revision": "main", "commit": "a" * 40, "dtype": "float32"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Client]]:
    with (
        serve(tmp_path_factory.mktemp("nothing"), tmp_path_factory.mktemp("cache")) as hub,
        connect(hub.environment, "train.hub.push") as client,
    ):
        yield hub, client


@pytest.fixture
def hub(served: tuple[Hub, Client]) -> Hub:
    """A hub that holds nothing, and clients of it that have fetched nothing."""
    hub, _ = served
    for everything in (hub.repositories, hub.uploads, hub.gated, hub.faults, hub.half_sent, hub.requests):
        everything.clear()
    shutil.rmtree(hub.environment["HF_HOME"], ignore_errors=True)
    return hub


@pytest.fixture
def client(served: tuple[Hub, Client]) -> Client:
    return served[1]


def fresh(hub: Hub, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run lines of Python in a process that has nothing imported."""
    variables = {**os.environ, **hub.environment, **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)


def write_run(folder: Path) -> Path:
    """Write two finished dictionaries and a configuration; their path."""
    generator = torch.Generator().manual_seed(0)
    for name in NAMES:
        n = int(name.split("-")[1])
        weights = [torch.randn(shape, generator=generator) for shape in ((4, n), (n,), (n, 4), (4,))]
        d = Dictionary(*weights, architecture="topk", k=2, hook=HOOK)
        made_from = {"model": MODEL, "text": "hub:someone/text", "text_commit": "b" * 40, "context": 16, "rows": 320}
        settings = {"architecture": "topk", "n_latents": n, "k": 2, "rows": 640, "learning_rate": 0.001, "seed": 0}
        provenance = {"settings": settings, "rows": 640, "activations": made_from, "convergence": {"converged": False}}
        save_dictionary(d, folder / "run" / "dictionaries" / HOOK / name, {"model_name": MODEL["name"]}, provenance)
    (folder / "experiment.toml").write_text(f"run = {str(folder / 'run')!r}")
    return folder / "run" / "dictionaries" / HOOK


def write_metrics(folder: Path) -> None:
    """Write what the analysis says of the first dictionary, and of the pair."""
    paths = [f"dictionaries/{HOOK}/{name}" for name in NAMES]
    entry = {
        "path": paths[0],
        "n_latents": 8,
        "l0": 1.96,
        "fvu": 0.1234,
        "alive_fraction": 0.875,
        "ce": {"recovered": 0.91},
    }
    pair = {"from": paths[0], "to": paths[1], "mmcs": 0.81, "mmcs_null": 0.3, "mmcs_corrected": 0.73}
    report = {"version": 3, "evaluation": {"rows": 1234}, "dictionaries": [entry], "pairs": [pair], "shown": shown()}
    (folder / "run" / "report").mkdir()
    (folder / "run" / "report" / "metrics.json").write_text(json.dumps(to_json(report)))


def push(client: Client, folder: Path, repository: str = REPOSITORY, token: str = TOKEN) -> Done:
    command = ["--config", str(folder / "experiment.toml"), "--push", repository]
    return client.run("train", *command, HF_TOKEN=token)


def test_what_is_pushed_is_read_back_bit_equal_and_then_without_a_network(client: Client, hub: Hub, tmp_path: Path):
    local = write_run(tmp_path)
    done = push(client, tmp_path)
    assert done.status == 0, done.err
    assert f"{hub.url}/{REPOSITORY}: 2 dictionaries, commit {hub.model(REPOSITORY).refs['main']}" in done.out
    for name in NAMES:
        for file in ("cfg.json", "sae_weights.safetensors", "training.json"):
            served = hub.model(REPOSITORY).at("main").files[f"{HOOK}/{name}/{file}"]  # type: ignore[union-attr]
            assert served == (local / name / file).read_bytes()
    lines = [
        "import sys, torch, winnow",
        f"d = winnow.load_dictionary('hf:{PATH}')",
        f"local = dict(winnow.load_dictionary({str(local / NAMES[0])!r}).named_parameters())",
        "assert set(local) == {name for name, _ in d.named_parameters()}",
        "assert all(torch.equal(local[name], value) for name, value in d.named_parameters())",
        f"assert (d.hook, d.architecture, d.k) == ({HOOK!r}, 'topk', 2), d",
        "assert not {'transformers', 'transformer_lens', 'datasets'} & set(sys.modules)",
    ]
    done = client.python("\n".join(lines[:-1]))
    assert done.status == 0, done.err
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):  # where nobody answers
        loaded = fresh(hub, "\n".join(lines), **environment)
        assert loaded.returncode == 0, loaded.stderr


@pytest.mark.parametrize("relative", [False, True])
def test_what_is_pushed_names_no_path_of_the_machine(
    client: Client, hub: Hub, tmp_path: Path, finished: Path, relative: bool
):
    """Of a run whose model and text are local: every file is searched, and what can be loaded is loaded."""
    folder = finished.parent
    run, config = tmp_path / "run", tmp_path / "experiment.toml"
    shutil.copytree(folder / "run", run)
    config.write_text(finished.read_text())
    if relative:  # as the configuration may spell them
        spelt = {str(folder / name): os.path.relpath(folder / name, ROOT) for name in ("model", "text")}
        for path in (config, *run.rglob("*.json")):
            text = path.read_text()
            for absolute, other in spelt.items():
                text = text.replace(absolute, other)
            path.write_text(text)
        (run / "hashes.json").unlink()
    done = client.run("train", "--config", str(config), "--run", str(run), "--push", REPOSITORY, HF_TOKEN=TOKEN)
    assert done.status == 0, done.err
    files = hub.model(REPOSITORY).at("main").files  # type: ignore[union-attr]
    assert len(files) == 2 + 2 * 4  # .gitattributes, README.md and those of both dictionaries
    places = {tmp_path, run, run.parent, folder, folder / "model", folder / "text", ROOT, Path.home()}
    spellings = [str(place) for place in places] + [os.path.relpath(place, ROOT) for place in places - {ROOT}]
    for name, content in files.items():
        assert not [place for place in spellings if place != "/" and place.encode() in content], name
    own = f"{HOOK}/topk-8-k2-seed0"
    training, written = (json.loads(source) for source in (files[f"{own}/training.json"], files[f"{own}/cfg.json"]))
    assert training["activations"]["text"] == "files:*.txt"
    assert training["activations"]["settings"]["model.name"] == written["metadata"]["model_name"] == "model"
    assert "- model: `model`, computed in float32\n- text: `files:*.txt`\n" in files["README.md"].decode()
    code = f"import winnow; assert winnow.load_dictionary('hf:{REPOSITORY}/{own}').n_latents == 8"
    assert client.python(code).status == 0
    again = client.run("train", "--config", str(config), "--run", str(run), "--push", REPOSITORY, HF_TOKEN=TOKEN)
    assert "has them already; nothing to do" in again.out


def test_pushing_again_sends_only_what_changed(client: Client, hub: Hub, tmp_path: Path):
    local = write_run(tmp_path)
    assert push(client, tmp_path).status == 0
    before = hub.model(REPOSITORY).refs["main"]
    hub.requests.clear()
    again = push(client, tmp_path)
    assert "has them already; nothing to do" in again.out
    assert hub.model(REPOSITORY).refs["main"] == before
    assert not [request for request in hub.requests if "/commit/" in request or request.startswith("PUT")]
    provenance = local / NAMES[1] / "training.json"
    provenance.write_text(provenance.read_text().replace("0.001", "0.002"))
    hub.requests.clear()
    assert "nothing to do" not in push(client, tmp_path).out
    assert not [request for request in hub.requests if request.startswith("PUT")]  # the weights are there
    after = hub.model(REPOSITORY)
    changed = [p for p, data in after.at("main").files.items() if after.commits[before].files.get(p) != data]  # type: ignore[union-attr]
    assert sorted(changed) == ["README.md", f"{HOOK}/{NAMES[1]}/training.json"]


def test_a_revision_names_what_was_there_then(client: Client, hub: Hub, tmp_path: Path):
    local = write_run(tmp_path)
    push(client, tmp_path)
    repository = hub.model(REPOSITORY)
    repository.refs["v1"] = repository.refs["main"]
    old = json.loads((local / NAMES[0] / "training.json").read_text())
    repository.commit({f"{HOOK}/{NAMES[0]}/training.json": json.dumps(old | {"rows": 5}).encode()})
    for revision, rows in (("@v1", 640), (f"@{repository.refs['v1']}", 640), ("", 5), ("@main", 5)):
        code = f"import winnow; assert winnow.load_dictionary('hf:{PATH}{revision}').provenance['rows'] == {rows}"
        done = client.python(code)
        assert done.status == 0, done.err


def test_the_card_carries_what_was_measured(client: Client, hub: Hub, tmp_path: Path):
    write_run(tmp_path)
    write_metrics(tmp_path)
    assert push(client, tmp_path).status == 0
    card = hub.model(REPOSITORY).at("main").files["README.md"].decode()  # type: ignore[union-attr]
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["library_name"] == "winnow"
    assert metadata["base_model"] == MODEL["name"]
    assert {"sparse-autoencoder", "topk"} <= set(metadata["tags"])
    assert metadata["datasets"] == ["someone/text"]
    assert (
        "| dictionary | latents | L0 | FVU | loss recovered | alive |\n| --- | --- | --- | --- | --- | --- |\n| `"
        in card
    )
    assert f"| `{HOOK}/{NAMES[0]}` | 8 | 1.96 | 0.123 | 91.0% | 87.5% |" in card
    assert f"| `{HOOK}/{NAMES[1]}` | not measured yet |" in card
    assert "| features of | found in | MMCS | chance | corrected |" in card
    assert f"| `{HOOK}/{NAMES[0]}` | `{HOOK}/{NAMES[1]}` | 0.810 | 0.300 | 0.730 |" in card
    assert "On 1,234 held-out rows" in card
    assert card.endswith("- 16 tokens per sequence, 320 rows harvested\n")
    assert "\n\n\n" not in card
    assert f'winnow.load_dictionary("hf:{PATH}")' in card
    assert f"`{MODEL['name']}` at commit `{MODEL['commit']}`" in card


@pytest.mark.parametrize("version", [1, 2])
def test_a_report_of_an_older_version_names_the_remedy(client: Client, hub: Hub, tmp_path: Path, version: int):
    write_run(tmp_path)
    write_metrics(tmp_path)
    path = tmp_path / "run" / "report" / "metrics.json"
    found = json.loads(path.read_text())
    if version == 1:
        del found["shown"]
    path.write_text(json.dumps(found | {"version": version}))
    said = f"metrics.json: a report of version {version}, expected 3; run make analyze again, and push again"
    assert said in push(client, tmp_path).refusal
    assert not hub.repositories


def test_a_run_that_is_not_analysed_says_so(client: Client, hub: Hub, tmp_path: Path):
    write_run(tmp_path)
    done = push(client, tmp_path)
    assert "metrics.json: not there yet, so the card has no metrics; run make analyze, and push again" in done.out
    card = hub.model(REPOSITORY).at("main").files["README.md"].decode()  # type: ignore[union-attr]
    assert "Nothing has been measured yet: analyse the run and push it again" in card


def test_what_is_in_the_way_of_a_push_is_one_line(client: Client, hub: Hub, tmp_path: Path):
    local = write_run(tmp_path)
    assert "no token" in push(client, tmp_path, token="").refusal
    assert "log in with `hf auth login`, or set HF_TOKEN" in push(client, tmp_path, token="").refusal
    assert "does not accept the token" in push(client, tmp_path, token="hf_wrong").refusal
    assert "the token may not write there (You don't have the rights" in push(client, tmp_path, "else/x").refusal
    assert "expected OWNER/NAME, for instance" in push(client, tmp_path, "some-saes").refusal
    weights = local / NAMES[0] / "sae_weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + bytes(4))
    assert "sae_weights.safetensors: sha256 is" in push(client, tmp_path).refusal
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "experiment.toml").write_text(f"run = {str(tmp_path / 'empty')!r}")
    assert "there is nothing to push; run make train first" in push(client, tmp_path / "empty").refusal
    assert not hub.repositories


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            f"{REPOSITORY}/{HOOK}/topk-8-k3-seed0",
            f"has no dictionary in {HOOK}/topk-8-k3-seed0 at revision main; did you",
        ),
        (
            f"{REPOSITORY}",
            f"has no dictionary in its root at revision main; there are {HOOK}/topk-16-k2-seed0, {HOOK}/",
        ),
        (f"{PATH}@v2", "has no revision v2"),
        ("someone/nothing/x", "has no someone/nothing, or it is private: then log in with `hf auth login`"),
        ("gated", f"{REPOSITORY} is gated: accept its terms at http://127.0.0.1:"),
        ("cut", "could not be read (peer closed connection"),
        ("short", "Consistency check failed"),
    ],
)
def test_a_dictionary_that_cannot_be_had_is_one_line(client: Client, hub: Hub, tmp_path: Path, address: str, said: str):
    write_run(tmp_path)
    push(client, tmp_path)
    if address == "gated":
        hub.gated.add(REPOSITORY)
    elif address in ("cut", "short"):
        hub.faults["sae_weights.safetensors"] = address
    address = address if "/" in address else PATH
    code = f"import winnow\ntry: winnow.load_dictionary('hf:{address}')\nexcept winnow.UserError as e: print(e)"
    done = client.python(code)
    assert done.err == ""
    assert done.out.startswith(f"hf:{address}: ")
    assert said in done.out
    assert "a local folder works too" in done.out
    assert done.out.count("\n") == 1
    assert done.waited < 10  # seconds


def test_offline_and_never_fetched_is_one_line(hub: Hub):
    code = f"import winnow\ntry: winnow.load_dictionary('hf:{PATH}')\nexcept winnow.UserError as e: print(e)"
    done = fresh(hub, code, HF_HUB_OFFLINE="1")
    assert done.stdout.startswith(f"hf:{PATH}: HF_HUB_OFFLINE is set, and ")
    assert f"lacks {REPOSITORY} at revision main" in done.stdout


def test_card_begins_with_the_massive_rows(tmp_path: Path) -> None:
    """Whether they were left out or trained on; where there are none, not a word."""
    folder = write_run(tmp_path)
    massive: dict[str, Any] = {
        **{"bound": 10, "median_norm": 168.2, "largest_norm": 24e3, "rows": 9, "all_rows": 51_308},
        **{"share_of_rows": 9 / 51_308, "share_of_variance": 0.88},
        **{"positions": [[1, 9]], "tokens": [[198, 9]], "dimensions": [[507, 0.99]]},
    }
    write_metrics(tmp_path)
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert "massive" not in card([folder / NAMES[0]], metrics, REPOSITORY)
    taken_in = {"hook": HOOK, "massive": massive | {"left_out": False, "token_texts": None}}
    other = card([folder / NAMES[0]], metrics | {"activations": [taken_in]}, REPOSITORY)
    path = folder / NAMES[0] / "training.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"left_out": massive}))
    for text, treated in ((card([folder / NAMES[0]], metrics, REPOSITORY), "left out of"), (other, "trained on like")):
        first = text.split("trained by winnow.")[1].split("```python")[0]
        assert first.strip().startswith(f"`{HOOK}`: 9 of 51,308 rows are massive")
        assert "position 1 (9); token 198 (9); dimension 507 (99%)" in first
        assert treated in first
