"""Every Python snippet of README and docs runs as a script of its own, and leaves nothing on stderr."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, write_text
from tests.hub import serve
from tests.winnow.formats.test_foreign import write_ae
from winnow.config.command_line import load_experiment
from winnow.dictionary import Dictionary, save_dictionary

pytestmark = pytest.mark.slow

HOOK = "blocks.2.hook_resid_post"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {"from sae_lens import SAE": "SAELens lives in an environment of its own: tests/interop runs this"}


class Snippet(NamedTuple):
    """A block of Python, and the page and line where it stands."""

    name: str
    code: str


def snippets() -> list[Snippet]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 1
            found.append(Snippet(f"{page.relative_to(ROOT)}:{line}", block[1]))
    return found


def save_random(folder: Path, n_latents: int, seed: int, shared: int = 0) -> None:
    """Save a topk dictionary of random directions; the first `shared` of them are those of every seed."""
    first = torch.randn(shared, 128, generator=torch.Generator().manual_seed(99))
    own = torch.randn(n_latents - shared, 128, generator=torch.Generator().manual_seed(seed))
    directions = torch.nn.functional.normalize(torch.cat([first, own]), dim=1)
    weights = (directions.T.contiguous(), torch.zeros(n_latents), directions, torch.zeros(128))
    settings = {"architecture": "topk", "n_latents": n_latents, "k": 24, "seed": seed}
    dictionary = Dictionary(*weights, architecture="topk", k=24, hook=HOOK)
    save_dictionary(dictionary, folder, {}, {"settings": settings, "rows": 1})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder that looks like the repository after `make demo`, small, and the variables that name a hub beside it."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("configs", "data"):
        (folder / name).symlink_to(ROOT / name)
    write_text(folder / "text")
    numbers = {
        "run": str(folder / "runs" / "demo"),
        "model.name": str(ROOT / "data" / "tiny_gpt2"),
        "text.source": f"files:{folder}/text/*.txt",
        "text.context": "32",
        "text.tokens": str(48 * 32),
        "text.held_out_sequences": "8",
        "harvest.hooks": f'["{HOOK}"]',
    }
    options = [word for key, value in numbers.items() for word in (f"--{key}", value)]
    config = load_experiment("test", ["--config", str(ROOT / "configs" / "demo.toml"), *options])
    make_tokens(config)
    harvest(config)
    runs = folder / "runs"
    save_random(runs / "demo" / "dictionaries" / HOOK / "topk-1024-k24-lr0.004-seed0", 1024, 0)
    for seed in range(3):
        save_random(runs / "seeds" / "dictionaries" / HOOK / f"topk-256-k24-seed{seed}", 256, seed, shared=64)
    (folder / "path" / "to" / "trainer_0").mkdir(parents=True)
    write_ae(folder / "path" / "to" / "trainer_0")
    save_random(folder / "hub" / "models" / "OWNER" / "NAME" / "FOLDER", 256, 0)
    with serve(folder / "hub", folder / "cache") as hub:
        repository = hub.model("OWNER/NAME")
        repository.refs["REVISION"] = repository.refs["main"]
        yield folder, hub.environment


@pytest.mark.parametrize("snippet", snippets(), ids=lambda snippet: snippet.name)
def test_a_snippet_runs_as_a_script_and_leaves_nothing_on_stderr(
    snippet: Snippet, place: tuple[Path, dict[str, str]]
) -> None:
    for line, why in ELSEWHERE.items():
        if line in snippet.code:
            pytest.skip(why)
    folder, hub = place
    (folder / "snippet.py").write_text(snippet.code, encoding="utf-8")
    network = hub if "hf:" in snippet.code else {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "snippet.py"],
        cwd=folder,
        env={**os.environ, **network, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_cannot_run_here_is_still_in_the_docs() -> None:
    assert len(snippets()) >= 10
    for line in ELSEWHERE:
        assert any(line in snippet.code for snippet in snippets()), line
