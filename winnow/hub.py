"""The Hugging Face Hub: resolve revisions to commits, fetch dictionaries, explain failures in one line.

    commit_of("model", "openai-community/gpt2", "main")        # its hash; without a network, from the cache
    fetch_dictionary("hf:owner/name/folder@revision")          # its folder in the hub's cache

A revision is resolved once, and everything is then read at its commit, so a repository that moves on meanwhile does no
harm. Files fetched before are found without a network, also with HF_HUB_OFFLINE=1. Waiting is bounded: a hub that does
not answer is asked once; a stalled download is tried five times, a second apart, and that of a data set for half a
minute.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm

from winnow.errors import UserError, nearest

Kind = Literal["model", "dataset"]
# What a request may raise. The first is the base class of the client's HTTP library, which depends on the version.
FAILURES: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, EntryNotFoundError, OSError, ValueError)
# A model's configuration and tokenizer: the small files in the root of its repository.
TOKENIZER_FILES = ["*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja"]
# The files of a dictionary, in every format that `load_dictionary` reads.
DICTIONARY_FILES = (
    *("cfg.json", "sae_weights.safetensors", "training.json", "activation_scaler.json"),
    *("activation_whitening.safetensors", "sae.safetensors", "config.json", "ae.pt"),
)
TIMEOUT = 10.0  # seconds to wait for an answer
PASSING = (408, 425, 429)  # statuses of requests that succeed later
SHORT = 12  # characters of a commit's hash to show


class Address(NamedTuple):
    """A dictionary on the hub: `hf:owner/name/folder@revision`, where folder and revision are optional."""

    repository: str
    folder: str
    revision: str


def parse(address: str) -> Address:
    """Parse `hf:owner/name/folder@revision`. Raises `UserError` for anything else."""
    path, _, revision = address.removeprefix("hf:").partition("@")
    owner, _, rest = path.strip("/").partition("/")
    name, _, folder = rest.partition("/")
    if not owner or not name or ".." in folder.split("/"):
        raise UserError(f"{address}: expected hf:OWNER/NAME/FOLDER, or hf:OWNER/NAME/FOLDER@REVISION")
    return Address(f"{owner}/{name}", folder, revision or constants.DEFAULT_REVISION)


def commit_of(kind: Kind, name: str, revision: str) -> str:
    """Resolve a branch, tag or commit of a repository to its commit; "" for a local folder.

    For a model it also fetches everything but the weights. Raises one of `FAILURES`, which `why` explains.
    """
    if Path(name).exists():
        return ""
    with quiet():
        if kind == "dataset":
            found = HfApi().dataset_info(name, revision=revision, timeout=TIMEOUT)
            HfApi().auth_check(name, repo_type="dataset")  # raises if it is gated, more clearly than `datasets` does
            return found.sha or ""
        try:
            return _snapshot(name, revision, TOKENIZER_FILES, but="*/*").name
        except LocalEntryNotFoundError:  # no network, and another program filled the cache with only the files it needs
            return _snapshot(name, revision, ["config.json"]).name


def keep_commit(kind: Kind, name: str, revision: str, made_with: str) -> str:
    """Return the commit to read: `made_with`, the one a run was begun with, or else the one of `revision`.

    Prints a line if `revision` has moved on since. Raises one of `FAILURES` if there is no such commit.
    """
    if not made_with or Path(name).exists():
        return commit_of(kind, name, revision)
    try:
        now = commit_of(kind, name, revision)
    except FAILURES:  # without the branch or the network, the commit may still exist, or be in the cache
        return commit_of(kind, name, made_with)
    if now == made_with:
        return now
    print(
        f"{name}: {revision} has moved from {made_with[:SHORT]} to {now[:SHORT]} since this run began; the run "
        f"keeps {made_with[:SHORT]}, a new run would take {now[:SHORT]}",
        file=sys.stderr,
    )
    return commit_of(kind, name, made_with)


def model_folder(name: str, commit: str) -> Path:
    """Return the folder of a model's configuration and tokenizer, which `commit_of` has fetched."""
    if not commit:
        return Path(name)
    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots" / commit


def fetch_dictionary(address: str) -> Path:
    """Fetch the files of `hf:owner/name/folder@revision` into the hub's cache, and return their folder there.

    Raises `UserError` naming the address, the reason, and what is there instead.
    """
    repository, folder, revision = parse(address)
    prefix = f"{folder}/" if folder else ""
    try:
        with quiet():
            snapshot = _snapshot(repository, revision, [prefix + name for name in DICTIONARY_FILES])
    except FAILURES as error:
        raise UserError(f"{address}: {why(error, repository, revision)}; a local folder works too") from error
    if not any((snapshot / folder / name).is_file() for name in DICTIONARY_FILES):
        raise UserError(
            f"{address}: {repository} has no dictionary in {folder or 'its root'} at revision {revision}"
            f"{_nearby(repository, snapshot.name, folder)}; a local folder works too"
        )
    return snapshot / folder


def why(error: BaseException, name: str, revision: str, kind: Kind = "model") -> str:
    """Explain in one line why the repository `name` could not be read at `revision`."""
    chain = list(_causes(error))

    def find(*kinds: type[BaseException]) -> BaseException | None:
        return next((e for e in chain if isinstance(e, kinds)), None)

    where = constants.ENDPOINT
    if find(GatedRepoError):
        page = f"{where}/datasets/{name}" if kind == "dataset" else f"{where}/{name}"
        return f"{name} is gated: accept its terms at {page}, then log in with `hf auth login` or set HF_TOKEN"
    if find(RepositoryNotFoundError):
        return f"{where} has no {name}, or it is private: then log in with `hf auth login` or set HF_TOKEN"
    if find(RevisionNotFoundError):
        return f"{name} on {where} has no revision {revision}"
    if find(HFValidationError):
        return f"neither a local folder nor a name on the hub, which is OWNER/NAME ({_line(error)})"
    if constants.HF_HUB_OFFLINE and find(OfflineModeIsEnabled) and not find(LocalEntryNotFoundError):
        return f"HF_HUB_OFFLINE is set, and this needs {where}, whatever is in the cache"
    if constants.HF_HUB_OFFLINE and find(OfflineModeIsEnabled, LocalEntryNotFoundError):
        return f"HF_HUB_OFFLINE is set, and {constants.HF_HUB_CACHE} lacks {name} at revision {revision}, or part of it"
    if failed := find(HfHubHTTPError.__bases__[0]) or find(ConnectionError):
        return f"{where} could not be read ({_line(failed)})"
    return _line(error)


def is_lasting(error: BaseException) -> bool:
    """Tell whether the same request would fail again: the hub has refused it, or is not to be asked."""
    lasting = (EntryNotFoundError, HFValidationError, OfflineModeIsEnabled)
    for found in _causes(error):
        if isinstance(found, HfHubHTTPError):
            status = getattr(getattr(found, "response", None), "status_code", 500)
            return 400 <= status < 500 and status not in PASSING
        if isinstance(found, LocalEntryNotFoundError):  # nothing in the cache, since the connection failed
            return constants.HF_HUB_OFFLINE
        if isinstance(found, lasting):
            return True
    return False


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the clients' own warnings (about retries and missing tokens): `why` explains errors."""
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "datasets")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _OnTerminals(tqdm):
    """A progress bar that stays silent unless standard error is a terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["disable"] = kwargs.get("disable") or not sys.stderr.isatty()
        super().__init__(*args, **kwargs)


def _snapshot(name: str, revision: str, paths: list[str], but: str | None = None) -> Path:
    """Fetch the files that match one of `paths` and not `but`; return their folder, named by the commit."""
    return Path(
        snapshot_download(name, revision=revision, allow_patterns=paths, ignore_patterns=but, tqdm_class=_OnTerminals)
    )


def _nearby(repository: str, commit: str, folder: str) -> str:
    """Say whose layout the folder's files have, or suggest folders of a repository that hold dictionaries."""
    from winnow.formats.layouts import whose  # it loads torch

    try:
        with quiet():
            files = HfApi().list_repo_files(repository, revision=commit)
    except FAILURES:
        return ""
    if owner := whose([Path(f).name for f in files if Path(f).parent == Path(folder)]):
        return f"; there is {owner}"
    found = sorted({str(Path(f).parent) for f in files if Path(f).name in ("cfg.json", "ae.pt")})
    listed = f"; there are {', '.join(found[:5])}{' …' if len(found) > 5 else ''}" if found else ""
    return nearest(folder, found) or listed


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
