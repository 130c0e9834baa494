"""With a local model and text, no command asks the network for anything, also where it may."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments import ROOT
from tests.finished import write_settings

pytestmark = pytest.mark.slow

COMMANDS = ["data", "harvest", "train", "polytopes", "analyze", "plan", "winnow.verify", "winnow.model.hooks"]
# Runs commands one after the other. Python tells of every socket before it is used, whoever uses it. Only files that
# stand for sockets between processes of this machine, and the machine itself, may be connected to.
CODE = """
import json, runpy, sys
asked, done = [], {}
LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
USES = ("socket.connect", "socket.sendto", "socket.sendmsg")
NEAR = ("127.0.0.1", "::1", "localhost")

def refuse(event, arguments):
    if event in LOOKUPS:
        place = arguments[0]
    elif event in USES and isinstance(arguments[1], tuple):
        place = arguments[1][0]
    else:
        return
    if place not in NEAR:
        asked.append([event, str(place)])
        raise OSError(101, "Network is unreachable")

sys.addaudithook(refuse)
for number, words in enumerate(json.loads(sys.argv[1])):
    sys.argv = words
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as left:
        done[f"{number} {words[0]}"] = left.code
print(json.dumps([asked, done, sorted({"datasets", "transformers", "huggingface_hub"} & set(sys.modules))]))
"""


def run(commands: list[list[str]], cache: Path) -> tuple[list[list[str]], dict[str, int], list[str], str]:
    """Run commands where the hub may be asked, with an empty cache of it."""
    allowed = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(commands)],
        cwd=ROOT,
        env={**allowed, "HF_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    asked, done, loaded = json.loads(process.stdout.splitlines()[-1])
    return asked, done, loaded, process.stdout


def test_no_command_looks_anything_up(tmp_path: Path, gpt2: Path) -> None:
    config = write_settings(tmp_path, gpt2)
    commands = [[name, "--config", str(config)] for name in COMMANDS]
    commands += commands[:5]  # where there is nothing to do
    commands += [["analyze", "--config", str(config), "--run", str(tmp_path / "run"), "--analyze.features", "none"]]
    asked, done, loaded, said = run(commands, tmp_path / "cache")
    assert asked == []
    assert set(done.values()) == {0}
    assert len(done) == len(commands)
    assert loaded == ["datasets", "huggingface_hub", "transformers"]
    assert said.count("nothing to do") == 5
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_refusal_notices_who_asks(tmp_path: Path, gpt2: Path) -> None:
    """A model that is not local is asked for: the test above would see it."""
    config = write_settings(tmp_path, gpt2)
    asked, done, *_ = run([["data", "--config", str(config), "--model.name", "nobody/nothing"]], tmp_path / "cache")
    assert ["socket.getaddrinfo", "huggingface.co"] in asked
    assert done == {"0 data": 2}
