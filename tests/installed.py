"""What a user has after `pip install winnow`: its wheel, and an environment of what that wheel asks for, no more.

The environment is a real one, but its third-party packages are links to this one's, found as pip would find them:
by the wheel's requirements, and by theirs. So a package that winnow needs and does not ask for is missing there.
"""

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import torch
from packaging.requirements import Requirement

from tests.experiments import ROOT
from tests.stores import write_store
from winnow.dictionary import Dictionary, save_dictionary

README = (ROOT / "README.md").read_text(encoding="utf-8")
STAGES = ("data", "harvest", "train", "analyze")


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the sources, the stages among them."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("winnow", "bench", "tests", *STAGES):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True, text=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def requirements_of(distributed: Distribution) -> dict[str, Distribution]:
    """Find the distributions that one needs, directly or through others, without extras of its own."""
    todo, found, seen = list(distributed.requires or []), {}, set()
    while todo:
        requirement = Requirement(todo.pop())
        if str(requirement) not in seen and _applies(requirement, ()):
            seen.add(str(requirement))
            found[requirement.name] = needed = distribution(requirement.name)
            todo += [
                f"{r.name}{'[' + ','.join(r.extras) + ']' if r.extras else ''}"
                for r in map(Requirement, needed.requires or [])
                if _applies(r, requirement.extras)
            ]
    return found


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def make_environment(folder: Path, wheel: Path) -> Path:
    """Make an environment in `folder` with the wheel installed and what it needs; return its python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, text=True)
    [site] = (folder / "lib").glob("python*/site-packages")
    [info] = site.glob("winnow-*.dist-info")
    for needed in requirements_of(Distribution.at(info)).values():
        for name in {path.parts[0] for path in needed.files or []} - {"..", "__pycache__"}:
            if not name.endswith(".pth") and not (site / name).exists():
                (site / name).symlink_to(Path(str(needed.locate_file(name))))
    return python


def python_example() -> str:
    """The README's Python."""
    [example] = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    return example


def write_example_run(folder: Path) -> float:
    """Write below `folder` what the README's Python opens, of random numbers; return the sum of its `latents`."""
    [path] = re.findall(r'load_dictionary\("(.*?)"\)', python_example())
    [activations] = re.findall(r'ActivationStore\("(.*?)"\)', python_example())
    hook = Path(path).parent.name
    generator = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(64, 16, generator=generator), dim=1)
    zeros = torch.zeros(64), torch.zeros(16)
    dictionary = Dictionary(
        decoder.T.contiguous(), zeros[0], decoder, zeros[1], architecture="topk", k=4, hook=hook, path=folder / path
    )
    save_dictionary(dictionary, folder / path, {}, {})
    rows = torch.randn(1500, 16, generator=generator)
    write_store(folder / activations, {hook: rows})
    return dictionary.encode(rows[:1024]).sum().item()


def run_example(python: Path, folder: Path) -> tuple[Path, float]:
    """Run the README's Python in `folder`; return where winnow was found, and the sum of the latents."""
    program = python_example() + "\nprint(winnow.__file__, latents.sum().item(), sep='\\n')"
    done = subprocess.run([python, "-P", "-c", program], cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr)
    where, total = done.stdout.splitlines()
    return Path(where), float(total)
