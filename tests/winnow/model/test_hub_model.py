"""Models by their name on the hub, from a hub on this machine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.experiments import write_config
from tests.forked import LOADED, Client, connect
from tests.hub import TOKEN, Hub, serve
from tests.hub.content import MODEL, fill

pytestmark = pytest.mark.hub

OPEN = "from winnow.model.language_model import open_model; from winnow.config.experiment import ModelSettings; "
LOCAL_WORKS_TOO = "a local folder in Hugging Face format works too"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Client]]:
    root = tmp_path_factory.mktemp("hub")
    fill(root)
    with (
        serve(root, tmp_path_factory.mktemp("cache")) as hub,
        connect(hub.environment, *LOADED) as client,
    ):
        yield hub, client


@pytest.fixture
def client(served: tuple[Hub, Client]) -> Client:
    return served[1]


@pytest.fixture
def hub(served: tuple[Hub, Client]) -> Hub:
    """A hub in order, of which nothing has been fetched."""
    hub, _ = served
    for everything in (hub.gated, hub.private, hub.faults, hub.half_sent, hub.requests):
        everything.clear()
    shutil.rmtree(hub.environment["HF_HOME"], ignore_errors=True)
    return hub


def refusal(client: Client, name: str = MODEL, revision: str = "main") -> str:
    """Open a model's tokenizer and the model, and give the one line with which both refuse."""
    settings = f"ModelSettings(name={name!r}, revision={revision!r}, device='cpu')"
    done = client.python(
        "from winnow.errors import UserError; from data.tokenizer import TextTokenizer; " + OPEN
        + f"\nfor f in (TextTokenizer, open_model):\n try: f({settings})\n except UserError as e: print(e)"
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.err == ""
    tokenizer, model = done.out.splitlines()
    for line in (tokenizer, model):
        assert line.startswith(f"model.name = {name}: no ")
        assert LOCAL_WORKS_TOO in line
    assert tokenizer.split("(", 1)[1] == model.split("(", 1)[1]
    return model


def test_a_harvest_notes_the_commit_and_goes_on_at_it_when_main_moves(hub: Hub, client: Client, tmp_path: Path):
    repository = hub.model(MODEL)
    before = repository.refs["main"]
    config = str(write_config(tmp_path, Path(MODEL)))
    for stage in ("data", "harvest"):
        done = client.run(stage, "--config", config)
        assert done.status == 0, done.err
    manifest = json.loads((tmp_path / "run" / "activations" / "manifest.json").read_text())
    assert manifest["model"]["commit"] == before
    hub.requests.clear()
    begun = f"begun_with={{'name': {MODEL!r}, 'revision': 'main', 'commit': {before!r}}}"
    opens = OPEN + f"print(open_model(ModelSettings(name={MODEL!r}, device='cpu'), {begun}).commit)"
    assert client.python(opens).err == ""
    assert not [request for request in hub.requests if "/resolve/" in request]  # it is in the cache
    after = repository.commit({"config.json": b"{}"})
    try:
        shutil.rmtree(hub.environment["HF_HOME"])  # as on another machine
        done = client.python(opens)
    finally:
        repository.refs["main"] = before
    assert done.out == f"{before}\n"
    assert f"{MODEL}: main has moved from {before[:12]} to {after[:12]} since this run began" in done.err


def test_a_local_copy_of_a_model_is_the_same_model_and_another_revision_is_not(
    hub: Hub, client: Client, tmp_path: Path
):
    config = str(write_config(tmp_path, Path(MODEL)))
    assert [client.run(stage, "--config", config).status for stage in ("data", "harvest")] == [0, 0]
    files = hub.model(MODEL).at("main").files  # type: ignore[union-attr]
    copy = tmp_path / "copy"
    for name, content in files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    hub.requests.clear()
    shutil.rmtree(hub.environment["HF_HOME"])
    for stage in ("data", "harvest", "harvest"):
        done = client.run(stage, "--config", config, "--model.name", str(copy))
        assert done.out.endswith("nothing to do\n"), done.err
    assert hub.requests == []
    assert (tmp_path / "run" / ".remembered.json").exists()  # it was opened, to compare its weights
    said = client.run("harvest", "--config", config, "--model.revision", "v1").refusal
    assert "made with model.revision = 'main', now model.revision = 'v1' is asked for" in said
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x01\x02\x03\x04")
    assert "weights_sha256 of the model" in client.run("harvest", "--config", config, "--model.name", str(copy)).refusal


def test_a_revision_chooses_the_weights(hub: Hub, client: Client):
    repository = hub.model(MODEL)
    repository.refs["v1"] = repository.refs["main"]
    code = OPEN + f"print(open_model(ModelSettings(name={MODEL!r}, revision='v1', device='cpu')).commit)"
    assert client.python(code).out == f"{repository.refs['v1']}\n"


def test_names_that_are_not_there_are_one_line(hub: Hub, client: Client):
    assert f"({hub.url} has no someone/nothing, or it is private: then log in" in refusal(client, "someone/nothing")
    assert "neither a local folder nor a name on the hub" in refusal(client, "not/a/name")
    assert f"({MODEL} on {hub.url} has no revision v9)" in refusal(client, revision="v9")


def test_a_gated_model_says_where_to_ask_and_a_private_one_opens_with_the_token(hub: Hub, client: Client):
    hub.gated.add(MODEL)
    assert f"({MODEL} is gated: accept its terms at {hub.url}/{MODEL}, then log in with `hf auth" in refusal(client)
    hub.gated.clear()
    hub.private.add(MODEL)
    assert f"{hub.url} has no {MODEL}, or it is private: then log in with `hf auth login`" in refusal(client)
    code = OPEN + f"open_model(ModelSettings(name={MODEL!r}, device='cpu'))"
    assert client.python(code, HF_TOKEN=TOKEN).status == 0


@pytest.mark.parametrize(
    ("file", "fault", "said"),
    [
        ("tokenizer.json", "cut", "could not be read (peer closed connection"),
        ("tokenizer.json", "short", "Consistency check failed"),
        ("model.safetensors", "cut", "could not be read (peer closed connection"),
        ("model.safetensors", "short", "Consistency check failed"),
    ],
)
def test_a_download_that_breaks_off_is_one_line_and_can_be_taken_up(
    hub: Hub, client: Client, file: str, fault: Literal["cut", "short"], said: str
):
    hub.faults[file] = fault
    opens = OPEN + f"open_model(ModelSettings(name={MODEL!r}, device='cpu'))"
    done = client.python(f"from winnow.errors import UserError; {OPEN}\ntry: {opens}\nexcept UserError as e: print(e)")
    assert done.err == ""
    assert done.out.startswith(
        f"model.name = {MODEL}: no such folder, and cannot be fetched from the hub at revision main ("
    )
    assert done.out.count("\n") == 1
    assert said in done.out
    assert done.waited < 10  # seconds
    hub.faults.clear()
    assert client.python(opens).err == ""
