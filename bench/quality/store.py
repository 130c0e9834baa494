"""The activations that all train on: the demo's residual stream, harvested once."""

import subprocess
import sys
import tomllib
from pathlib import Path

import tomli_w

from winnow.errors import UserError

ROOT = Path(__file__).parents[2]
HOOK = "blocks.2.hook_resid_post"


def harvest(run: Path, tokens: int | None = None) -> Path:
    """Harvest the demo's text into `run`, or so many of its tokens, unless that is done; return the store's folder."""
    config = tomllib.loads((ROOT / "configs" / "demo.toml").read_text(encoding="utf-8"))
    config["run"] = str(run.resolve())
    config["text"] |= {"tokens": tokens or config["text"]["tokens"]}
    config["harvest"]["hooks"] = [HOOK]
    del config["train"]
    run.mkdir(parents=True, exist_ok=True)
    path = run / "harvest.toml"
    path.write_text(tomli_w.dumps(config), encoding="utf-8")
    for stage in ("data", "harvest"):
        done = subprocess.run([sys.executable, "-m", stage, "--config", str(path)], cwd=ROOT)
        if done.returncode:
            raise UserError(f"{path}: {stage} ended with status {done.returncode}; see above")
    return run / "activations"
