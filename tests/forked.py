"""Run stages as a user does, without waiting for imports each time.

    with connect({}, "data.write_tokens") as client:
        done = client.run("data", "--config", "experiment.toml", HF_TOKEN="…")      # python -m data --config …
        done = client.python("import winnow; print(winnow.load_dictionary('hf:…'))")

One process imports what the stages need, with these variables set. Each request runs in a fork of it, with the exit
status, the output and the error stream of the command itself; several at once, where several are asked for.
"""

import importlib
import io
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from tests.experiments import ROOT

# what a stage that opens a language model imports, part of it late
LOADED = (
    "data.write_tokens",
    "harvest.make_shards",
    "harvest.model_source",
    "transformer_lens.model_bridge",
    "transformers.models.gpt2.modeling_gpt2",
)


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str
    waited: float  # seconds that it asked to sleep; it got none of them

    @property
    def refusal(self) -> str:
        """The one line with which a stage refuses, where it did, and said nothing else."""
        assert self.status == 2, self
        lines = [line for line in self.err.splitlines() if line.strip() and "━" not in line and "--:--" not in line]
        assert len(lines) == 1, self.err
        return lines[0]


class Client:
    """The process that runs what it is asked to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, stage: str, *arguments: str, **environment: str) -> Done:
        """Run `python -m STAGE ARGUMENTS…`, with these variables set."""
        return self.together(stage, arguments, [environment])[0]

    def together(self, stage: str, arguments: Sequence[str], environments: Sequence[Mapping[str, str]]) -> list[Done]:
        """Run the command as often as there are environments, all at once."""
        return self._ask([{"module": stage, "arguments": arguments, "environment": e} for e in environments])

    def python(self, code: str, **environment: str) -> Done:
        """Run lines of Python."""
        return self._ask([{"code": code, "environment": environment}])[0]

    def _ask(self, requests: list[dict[str, Any]]) -> list[Done]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(requests) + "\n")
        self._process.stdin.flush()
        return [Done(**done) for done in json.loads(self._process.stdout.readline())]


@contextmanager
def connect(environment: Mapping[str, str], *modules: str) -> Iterator[Client]:
    """Start the process, which imports `modules`; it ends with the block."""
    command = [sys.executable, "-m", "tests.forked", *modules]
    variables = {**os.environ, **environment}
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Client(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve() -> None:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    for line in sys.stdin:
        with ExitStack() as files:
            children = []
            for request in json.loads(line):
                kept = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
                child = os.fork()
                if child == 0:
                    os._exit(_run(request, *kept))
                children.append((child, kept))
            print(json.dumps([_wait(child, *kept) for child, kept in children]), flush=True)


def _wait(child: int, out: Any, err: Any, slept: Any) -> dict[str, Any]:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for file in (out, err, slept):
        file.seek(0)
    return {"status": status, "out": out.read(), "err": err.read(), "waited": sum(map(float, slept))}


def _run(request: dict[str, Any], out: Any, err: Any, slept: Any) -> int:
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(number, "wb", 0), write_through=True) for number in (1, 2))
    os.environ.update(request["environment"])
    real = time.sleep

    def sleep(seconds: float) -> None:
        if seconds >= 0.5:  # a wait before another try, and not one for a lock
            os.write(slept.fileno(), f"{seconds}\n".encode())
        real(min(seconds, 0.01))

    time.sleep = sleep
    try:
        if "code" in request:
            exec(request["code"], {})
        else:
            sys.argv = [request["module"], *request["arguments"]]
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as left:
        return int(left.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
