"""What the tests' hub holds: GPT-2's name with a small random model, and data sets of sentences and of token ids."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.models import save_model

MODEL = "openai-community/gpt2"
TEXT = "someone/some-text"
TOKENS = "someone/some-tokens"
SUBSETS = "someone/two-subsets"
SENTENCES = [f"Row {row} of the array has a shape, and its type is number {row % 7}." for row in range(1200)]
CONFIGS = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in ("one", "two"))


def fill(root: Path) -> None:
    """Write the repositories into folders that `serve` serves."""
    (root / "models" / "openai-community").mkdir(parents=True)
    settings = save_model("gpt2", root / "models" / MODEL) / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"bos_token_id": 0, "eos_token_id": 0}))
    ids = [[n % 4096 for n in range(k, k + 40)] for k in range(1200)]
    for name, column, values in ((TEXT, "text", SENTENCES), (TOKENS, "input_ids", ids)):
        for part in range(2):
            file = root / "datasets" / name / "data" / f"train-{part:05d}-of-00002.parquet"
            write_parquet(file, **{column: values[part * 600 : (part + 1) * 600]})
    for subset in ("one", "two"):
        write_parquet(root / "datasets" / SUBSETS / subset / "train.parquet", text=[f"{subset} {s}" for s in SENTENCES])
    (root / "datasets" / SUBSETS / "README.md").write_text(f"---\nconfigs:\n{CONFIGS}---\n")


def write_parquet(file: Path, **columns: list) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file, row_group_size=100)
