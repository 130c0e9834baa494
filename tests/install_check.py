"""Install winnow from its git repository into fresh environments, and use it there: make install-check PYTHONS="…"

For each Python: a new environment, `pip install git+file://…` of the last commit with nothing but its requirements,
then the README's Python, and a stage, which must say what it lacks. What pip needs to download, it downloads.
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.experiments import ROOT
from tests.installed import run_example, write_example_run

PROGRAM = "import sys, torch; print(sys.version.split()[0], torch.__version__)"


def check(interpreter: str) -> str:
    """Install winnow for one Python, use it, and say in a line what was used. Raises where anything is amiss."""
    with TemporaryDirectory() as name:
        folder, began = Path(name), time.monotonic()
        python = folder / "venv" / "bin" / "python"
        subprocess.run([interpreter, "-m", "venv", folder / "venv"], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
        subprocess.run([*pip, f"git+file://{ROOT}"], check=True)
        expected = write_example_run(folder)
        where, total = run_example(python, folder)
        if folder not in where.parents or abs(total - expected) > 1e-4 * expected:
            raise RuntimeError(f"{where}: the README's Python gives {total}, expected {expected}")
        stage = [python, "-m", "data", "--config", "configs/demo.toml", "--run", folder / "run"]
        refused = subprocess.run(stage, cwd=ROOT, capture_output=True, text=True)
        if refused.returncode != 2 or "is not installed; the stages need more" not in refused.stderr:
            raise RuntimeError(f"python -m data, without its packages: {refused.stderr}")
        versions = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
        return "Python {}, torch {}: installed and used in {:.0f} s".format(*versions, time.monotonic() - began)


if __name__ == "__main__":
    for interpreter in sys.argv[1:] or [sys.executable]:
        print(check(interpreter), flush=True)
