"""Check the files that the stage polytopes leaves in a run: RUN/polytopes/*.json and what they name."""

from pathlib import Path

from winnow.errors import UserError
from winnow.runtime.hashes import hash_file
from winnow.runtime.record import read_record

ROWS_FILE = "rows.h5"  # what every experiment looks at


def verify_polytopes(folder: Path) -> int:
    """Check every record of a folder and the files whose hashes it holds; return how many records there are.

    Raises `UserError` naming the first damaged file. A folder that is not there has none.
    """
    records = sorted(folder.glob("*.json"))
    for path in records:
        results = read_record(path).results
        for name, expected in (results.get("files") or {}).items():
            file = folder / name
            if not file.exists():
                raise UserError(f"{file}: no such file; {path} names it; run make polytopes, which makes it again")
            found = hash_file(file)
            if found != expected:
                raise UserError(
                    f"{file}: expected sha256 {expected}, found {found}: it is damaged; run make polytopes, which "
                    "makes it again"
                )
    return len(records)
