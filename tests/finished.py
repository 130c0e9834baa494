"""A run that every stage has finished, with the model and the text that it was made from beside it."""

import shutil
from pathlib import Path
from unittest.mock import patch

from analyze.stage import measure_run
from data.tokens import make_tokens
from harvest.stage import harvest
from polytopes.stage import polytopes
from tests.experiments import load, write_config
from train.stage import train

HOOK = "blocks.1.hook_resid_post"
STAGES = {"data": make_tokens, "harvest": harvest, "train": train, "polytopes": polytopes, "analyze": measure_run}


def write_settings(folder: Path, model: Path) -> Path:
    """Copy the model to `folder`/model, and write the text and the configuration beside it."""
    shutil.copytree(model, folder / "model")
    grid = {"architecture": "topk", "n_latents": [8, 12], "k": [2]}
    return write_config(
        folder,
        folder / "model",
        harvest={"hooks": [HOOK]},
        train={"dictionaries": [grid], "rows": 1024, "batch_rows": 256, "held_out_rows": 32},
        polytopes={"experiments": ["codes"], "rows": 64, "untrained": False, "positions": {"skip_first": 1}},
        analyze={"features": ["auto"]},
    )


def finish(config: Path) -> None:
    """Run every stage, with an empty page in place of the report's: it has tests of its own."""
    settings = load(config)
    for name, stage in STAGES.items():
        if name == "analyze":
            with patch("analyze.report.page.write_report", write_page):
                stage(settings)
        else:
            stage(settings)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and its bytes; but for the locks, which hold no results."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if path.name != ".lock" and ".claims" not in path.parts
    }


def write_page(metrics, folder: Path, polytopes=None) -> Path:
    """Write an empty page."""
    (folder / "index.html").write_text("<p>a page</p>")
    return folder / "index.html"
