"""What every test shares: shapes and types are checked while tests run, and small real models to run on."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that looks for the hub finds a closed door at once

import pytest
import torch
from jaxtyping import install_import_hook

# Triton reads this when it is imported and when a kernel is defined; other tests may import it before the kernels' own.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

install_import_hook(["winnow", "data", "harvest", "train", "polytopes", "analyze"], "beartype.beartype")

from tests.models import save_model  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random GPT-2 of three layers and width 32, and the embedded model's tokenizer."""
    return save_model("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def shared() -> Path:
    """The folder of real models and texts beside the checkout, or a skip with the reason."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("no folder ../shared with real models and texts beside this checkout")
    return path
