"""What every test shares: checks of types, threads, marks, small real models, and stages that need no start."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that looks for the hub finds a closed door at once

# Workers beside one another share the cores, and so do the processes that they start. Before torch, which reads this.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(share))

import pytest
import torch

# Triton reads this when it is imported and when a kernel is defined; other tests may import it before the kernels' own.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from tests.checked import check_types

check_types(["winnow", "data", "harvest", "train", "polytopes", "analyze"])

from tests.forked import LOADED, Client, connect  # noqa: E402

ROOT = Path(__file__).parents[1]


DEAR = {"kills", "torchrun", "hub", "browser", "experiments", "slow"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left alone with one at the end."""
    longest = {item.path for item in items if any(mark.name in DEAR for mark in item.iter_markers())}
    items.sort(key=lambda item: item.path not in longest)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random GPT-2 of three layers and width 32, and the embedded model's tokenizer."""
    from tests.models import save_model  # it loads transformers, which most tests do without

    return save_model("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, gpt2: Path) -> Path:
    """The configuration of a run that every stage has finished; beside it model and text. Tests that write copy it."""
    from tests.finished import finish, write_settings

    config = write_settings(tmp_path_factory.mktemp("finished"), gpt2)
    finish(config)
    return config


@pytest.fixture(scope="session")
def stages() -> Iterator[Client]:
    """Runs stages as their commands, in forks of one process that has imported what they need."""
    with connect({}, *LOADED) as client:
        yield client


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads or more, also for a worker with one core: what goes on side by side does so."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shared() -> Path:
    """The folder of real models and texts beside the checkout, or a skip with the reason."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("no folder ../shared with real models and texts beside this checkout")
    return path
