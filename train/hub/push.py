"""Push a run's finished dictionaries to the Hugging Face Hub: `python -m train --config FILE --push OWNER/NAME`.

    OWNER/NAME/HOOK/DICTIONARY/     cfg.json, sae_weights.safetensors, training.json, metrics.jsonl
    OWNER/NAME/README.md            the model card (train/hub/card.py)

Nothing is trained, nothing on the hub is deleted, and unchanged files are not sent again. A repository that does not
exist is created, public by the hub's default; one that exists stays as private as it is. No path of this machine is
sent: of a local model or text only the last part of its name is (train/hub/private.py).
"""

from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import disable_progress_bars

from train.hub.card import card, path_of
from train.hub.private import file_without_paths, paths_of
from winnow.config.experiment import Experiment
from winnow.dictionary import TRAINING, control_of, load_dictionary, read_training, verify_dictionary
from winnow.errors import UserError
from winnow.formats import saelens
from winnow.formats.contents import read_json
from winnow.hub import FAILURES, is_lasting, quiet, why
from winnow.runtime.hashes import check_file, said_of
from winnow.runtime.run import Run, finished_dictionaries

FILES = (saelens.CONFIG, saelens.WEIGHTS, TRAINING, "metrics.jsonl")
REPORT_VERSION = 3  # of metrics.json; analyze/schema/report.py declares it, and a test holds the two together
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def push(config: Experiment, repository: str) -> None:
    """Upload every finished dictionary of the run and their card in one commit, or say that the hub has them.

    Controls stay here. Raises `UserError` if nothing else is finished, a file is damaged, nobody is logged in, or the
    hub refuses.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"--push {repository}: expected OWNER/NAME, for instance someone/gpt2-small-saes")
    run = Run(Path(config.run))
    finished = finished_dictionaries(run.path)
    folders = sorted((folder for folder in finished if control_of(folder) is None), key=_by_size)
    if not folders:
        raise UserError(
            f"{run.dictionaries}: no dictionary is finished, there is nothing to push; run make train first"
        )
    for folder in folders:
        verify_dictionary(load_dictionary(folder))
    if get_token() is None and not constants.HF_HUB_OFFLINE:
        raise UserError(f"--push {repository}: no token for {constants.ENDPOINT}; {LOG_IN}")
    report = run.report / "metrics.json"
    metrics = _metrics(report)
    paths = paths_of(config, map(read_training, folders))
    try:
        text = card(folders, metrics, repository, paths)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if metrics is None:
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{report}: not the report of these dictionaries ({what}); run make analyze again") from error
    files = {f"{path_of(folder)}/{name}": folder / name for folder in folders for name in FILES}
    contents = {name: file_without_paths(path, paths) for name, path in files.items() if path.exists()}
    changed, done = _upload(contents, text, repository)
    said = f"{len(folders)} dictionaries, commit {done.oid}"
    print(f"{constants.ENDPOINT}/{repository}: {said}" + ("" if changed else " has them already; nothing to do"))
    if metrics is None:
        print(f"{report}: not there yet, so the card has no metrics; run make analyze, and push again")


def _metrics(report: Path) -> dict[str, Any] | None:
    """Read the run's metrics; None if it is not analysed yet."""
    metrics = read_json(report) if report.exists() else None
    if metrics is not None and metrics.get("version") != REPORT_VERSION:
        raise UserError(
            f"{report}: a report of version {metrics.get('version')}, expected {REPORT_VERSION}; "
            "run make analyze again, and push again"
        )
    check_file(report, said_of(report), "run make analyze again, and push again")
    return metrics


def _by_size(folder: Path) -> tuple[str, str, int, str]:
    """Return the key that orders dictionaries: hook, kind, number of latents, and name."""
    return folder.parent.name, folder.name.partition("-")[0], read_json(folder / saelens.CONFIG)["d_sae"], folder.name


def _upload(files: dict[str, Path | bytes], card_text: str, repository: str) -> tuple[bool, CommitInfo]:
    """Commit the files; return whether that changed anything, and the commit."""
    api = HfApi(library_name="winnow")
    additions = [CommitOperationAdd(name, content) for name, content in files.items()]
    additions.append(CommitOperationAdd("README.md", card_text.encode()))
    disable_progress_bars()
    try:
        with quiet():
            api.create_repo(repository, exist_ok=True)
            before = api.model_info(repository).sha
            done = api.create_commit(repository, additions, commit_message="Push dictionaries by winnow")
    except (*FAILURES, RuntimeError) as error:
        raise UserError(f"--push {repository}: {_refusal(error, repository)}") from error
    return done.oid != before, done


def _refusal(error: BaseException, repository: str) -> str:
    """Say what went wrong; say plainly when the hub does not know the token, or the token may not write."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, HfHubHTTPError) and status == 401:
        return f"{constants.ENDPOINT} does not accept the token; {LOG_IN}"
    if isinstance(error, HfHubHTTPError) and status == 403:
        return f"the token may not write there ({error.server_message or 'status 403'}); {LOG_IN}"
    again = "" if is_lasting(error) else "; if the connection broke, run the same command again"
    return f"{why(error, repository, 'main')}{again}"
