"""Text by its name on the hub, from a hub on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.experiments import write_config
from tests.forked import Client, connect
from tests.hub import Hub, serve
from tests.hub.content import MODEL, SENTENCES, SUBSETS, TEXT, TOKENS, fill, write_parquet

pytestmark = pytest.mark.hub

LOCAL_WORKS_TOO = "files:PATTERN reads local txt, jsonl, csv and parquet files"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    fill(root)
    with serve(root, tmp_path_factory.mktemp("cache")) as served:
        yield served


@pytest.fixture(scope="module")
def client(hub: Hub) -> Iterator[Client]:
    with connect(hub.environment, "data.write_tokens") as connected:
        yield connected


@pytest.fixture
def config(tmp_path: Path, hub: Hub) -> str:
    hub.requests.clear()
    return str(write_config(tmp_path, Path(MODEL), text={"source": f"hub:{TEXT}"}))


def tokens_of(run: Path) -> np.ndarray:
    with h5py.File(run / "tokens.h5") as file:
        return np.asarray(file["tokens"])


def test_text_from_the_hub_gives_the_tokens_that_the_same_text_from_files_gives(
    client: Client, config: str, tmp_path: Path
):
    write_parquet(tmp_path / "local.parquet", text=SENTENCES)
    local = ["--run", str(tmp_path / "local"), "--text.source", f"files:{tmp_path}/local.parquet"]
    for arguments in ([], local):
        done = client.run("data", "--config", config, *arguments)
        assert done.status == 0, done.err
    np.testing.assert_array_equal(tokens_of(tmp_path / "run"), tokens_of(tmp_path / "local"))


def test_only_as_much_of_a_data_set_is_read_as_is_needed(hub: Hub, client: Client, config: str):
    assert client.run("data", "--config", config).status == 0
    assert any("train-00000-of-00002" in request for request in hub.requests)
    assert not any("GET" in request and "train-00001-of-00002" in request for request in hub.requests)


def test_a_column_of_token_ids_is_taken_as_it_is(client: Client, config: str, tmp_path: Path):
    ids = ["--text.source", f"hub:{TOKENS}", "--text.column", "input_ids", "--text.prepend_bos", "false"]
    assert client.run("data", "--config", config, *ids).status == 0
    assert tokens_of(tmp_path / "run")[0].tolist() == list(range(16))


def test_a_subset_and_a_revision_choose_the_text(hub: Hub, client: Client, config: str, tmp_path: Path):
    repository = hub.data_set(SUBSETS)
    write_parquet(tmp_path / "other.parquet", text=[f"else {s}" for s in SENTENCES])
    repository.refs["v1"] = repository.refs["main"]
    repository.commit({"two/train.parquet": (tmp_path / "other.parquet").read_bytes()})
    read = {}
    for name, arguments in {
        "one": ["--text.subset", "one"],
        "two": ["--text.subset", "two"],
        "old": ["--text.subset", "two", "--text.revision", "v1"],
        "commit": ["--text.subset", "two", "--text.revision", repository.refs["v1"]],
    }.items():
        run = ["--run", str(tmp_path / name), "--text.source", f"hub:{SUBSETS}"]
        done = client.run("data", "--config", config, *run, *arguments)
        assert done.status == 0, done.err
        read[name] = tokens_of(tmp_path / name)
    np.testing.assert_array_equal(read["old"], read["commit"])
    assert not np.array_equal(read["old"], read["two"])
    assert not np.array_equal(read["old"], read["one"])


def test_the_commits_are_noted_beside_the_tokens(hub: Hub, client: Client, config: str, tmp_path: Path):
    assert client.run("data", "--config", config).status == 0
    with h5py.File(tmp_path / "run" / "tokens.h5") as file:
        assert file.attrs["text_commit"] == hub.data_set(TEXT).refs["main"]
        assert file.attrs["tokenizer_commit"] == hub.model(MODEL).refs["main"]


def test_a_run_that_goes_on_keeps_to_the_commit_it_was_begun_with(
    hub: Hub, client: Client, config: str, tmp_path: Path
):
    small = "import runpy, sys, data.write_tokens as w; w.TOKENS_PER_PART = 64; w.DOCUMENTS_PER_BATCH = 8; "
    start = f"sys.argv = ['data', '--config', {config!r}]; runpy.run_module('data', run_name='__main__')"
    dies = "import data.pack as p; add = p.Packer.add; left = iter('four'); "
    dies += "p.Packer.add = lambda *a: (next(left), add(*a))[1]; "
    repository = hub.data_set(TEXT)
    before = repository.refs["main"]
    assert client.python(small + start).status == 0
    expected = tokens_of(tmp_path / "run")
    (tmp_path / "run" / "tokens.h5").unlink()
    assert client.python(dies + small + start).status == 1
    state = json.loads((tmp_path / "run" / "tokens.parts" / "state.json").read_text())
    assert state["parts"] > 0
    assert state["text_commit"] == before
    other = [f"something else {n}" for n in range(600)]
    write_parquet(tmp_path / "other.parquet", text=other)
    changed = {f"data/train-0000{part}-of-00002.parquet": (tmp_path / "other.parquet").read_bytes() for part in (0, 1)}
    after = repository.commit(changed)
    try:
        done = client.python(small + start)
    finally:
        repository.refs["main"] = before
    assert done.status == 0, done.err
    assert f"{TEXT}: main has moved from {before[:12]} to {after[:12]} since this run began" in done.err
    np.testing.assert_array_equal(tokens_of(tmp_path / "run"), expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--text.source", "hub:someone/nothing"], "has no someone/nothing, or it is private: then log in with"),
        (["--text.source", "hub:not/a/name"], "neither a local folder nor a name on the hub"),
        (["--text.revision", "v9"], f"{TEXT} on http://127.0.0.1:"),
        (["--text.revision", "v9"], "has no revision v9"),
        (
            ["--text.subset", "three"],
            "text.subset = three, text.split = train: cannot be opened (BuilderConfig 'three'",
        ),
        (["--text.source", f"hub:{SUBSETS}"], "Please pick one among the available configs: ['one', 'two']"),
        (["--text.split", "test"], "text.split = test: cannot be opened (Bad split: test. Available splits: ['train']"),
    ],
)
def test_what_is_not_there_is_one_line(client: Client, config: str, arguments: list[str], said: str):
    refusal = client.run("data", "--config", config, *arguments).refusal
    assert refusal.startswith("data: text.source = hub:")
    assert said in refusal
    assert LOCAL_WORKS_TOO in refusal


def test_a_column_that_is_not_there_is_one_line(client: Client, config: str):
    refusal = client.run("data", "--config", config, "--text.column", "txt").refusal
    assert "text.column = txt: hub:someone/some-text has no such column; did you mean text?; there are text" in refusal


def test_a_gated_data_set_says_where_to_ask(hub: Hub, client: Client, config: str):
    hub.gated.add(TEXT)
    try:
        refusal = client.run("data", "--config", config).refusal
    finally:
        hub.gated.clear()
    assert f"{TEXT} is gated: accept its terms at {hub.url}/datasets/{TEXT}, then log in with" in refusal


def test_a_private_data_set_is_read_with_the_token(hub: Hub, client: Client, config: str):
    from tests.hub import TOKEN

    hub.private.add(TEXT)
    try:
        assert "or it is private: then log in" in client.run("data", "--config", config).refusal
        assert client.run("data", "--config", config, HF_TOKEN=TOKEN).status == 0
    finally:
        hub.private.clear()


@pytest.mark.parametrize("fault", ["cut", "short"])
def test_a_download_that_breaks_off_is_one_line(hub: Hub, client: Client, config: str, tmp_path: Path, fault: str):
    hub.faults["train-00001-of-00002.parquet"] = fault  # type: ignore[assignment]
    try:
        everything = client.run("data", "--config", config, "--text.tokens", "1000000")
    finally:
        hub.faults.clear()
        hub.half_sent.clear()
    refusal = everything.refusal
    assert everything.waited < 30  # seconds
    assert refusal.startswith(f"data: text.source = hub:{TEXT}: reading failed after 600 documents (")
    assert "the same command resumes after the last finished part" in refusal
    assert LOCAL_WORKS_TOO in refusal
    assert client.run("data", "--config", config, "--text.tokens", "1000000").status == 0  # and so it does


def test_a_revision_of_text_that_is_not_on_the_hub_is_refused(client: Client, config: str):
    refusal = client.run("data", "--config", config, "--text.source", "python-docs", "--text.revision", "v1").refusal
    assert "revision has a meaning only with source = hub:NAME; remove it" in refusal
