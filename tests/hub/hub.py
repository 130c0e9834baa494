"""What the hub on this machine serves, what has been asked of it, and what goes wrong with it."""

from pathlib import Path
from typing import Literal

from tests.hub.repository import Repository

TOKEN = "hf_a_token_that_may_write"
USER = "someone"

Kind = Literal["models", "datasets"]
Fault = Literal["cut", "short"]


class Hub:
    """Repositories by kind and name.

    requests: `METHOD /path` of everything that was asked for. gated: names of repositories whose terms nobody here
    has accepted. private: names of those that only `TOKEN` may see. faults: what happens to a file's download, by the
    end of its path: `cut` sends half of what is asked for once and nothing after it, each time closing the connection;
    `short` sends half, and says that it is all.
    """

    def __init__(self, root: Path, url: str, cache: Path) -> None:
        self.url = url
        self.storage = url.replace("127.0.0.1", "localhost") + "/cdn"  # another host, where no token is sent
        self.environment = {
            "HF_ENDPOINT": url,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        self.repositories: dict[tuple[str, str], Repository] = {
            (kind, f"{folder.parent.name}/{folder.name}"): Repository.of_folder(folder)
            for kind in ("models", "datasets")
            for folder in sorted((root / kind).glob("*/*"))
        }
        self.uploads: dict[str, bytes] = {}  # what git LFS holds and no commit names yet, by sha256
        self.requests: list[str] = []
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.faults: dict[str, Fault] = {}
        self.half_sent: set[str] = set()

    def fault(self, path: str) -> Fault | None:
        return next((fault for end, fault in self.faults.items() if path.endswith(end)), None)

    def model(self, name: str) -> Repository:
        return self.repositories["models", name]

    def data_set(self, name: str) -> Repository:
        return self.repositories["datasets", name]
