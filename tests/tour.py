"""Run the tour, docs/tour.ipynb, and keep its outputs: python -m tests.tour, after `make demo`.

The committed notebook carries its outputs, and in its metadata a hash of the code that made them, so that a cell
which was changed and not run again is found out.
"""

import hashlib
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.experiments import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
RAN = "code_that_ran"


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_hash(notebook: Any) -> str:
    """Hash the code of all cells, in order."""
    code = "\0".join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(code.encode()).hexdigest()


def execute() -> Any:
    """Run the committed notebook in a fresh kernel, as one opens it: in its own folder. Raises where a cell does."""
    notebook = nbformat.read(TOUR, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=300,
        startup_timeout=300,
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(TOUR.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute()
    notebook.metadata[RAN] = code_hash(notebook)
    return notebook


if __name__ == "__main__":
    nbformat.write(execute(), TOUR)
    print(f"{TOUR}: run again, {TOUR.stat().st_size / 1000:.0f} kB")
