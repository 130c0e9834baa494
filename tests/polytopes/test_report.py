"""What the stage writes is what the report reads: every experiment, key by key."""

from pathlib import Path

import pytest

from analyze.polytopes import SCHEMAS, read_polytopes
from analyze.report.sections.polytopes.section import polytopes_section
from polytopes.stage import polytopes
from tests.experiments import load
from tests.polytopes.miniature import harvested


@pytest.mark.slow
def test_the_report_reads_every_experiment(tmp_path: Path, gpt2: Path) -> None:
    config = harvested(
        tmp_path,
        gpt2,
        experiments=list(SCHEMAS),
        clusters={"representations": ["post:1", "code:0-1"], "method": ["hdbscan", "kmeans"], "rows": 60},
        scaling={"hooks": ["blocks.0.hook_resid_post", "blocks.1.mlp.hook_in"], "rows": 4, "octaves": 1},
        density={"pairs": 50, "labels": "token"},
        regions={"centres": [1, 4], "rows": 100},
        adversaries={"hooks": ["blocks.0.hook_resid_pre"], "relative_norms": [0.1], "rows": 2},
    )
    polytopes(load(config))
    found, hashes = read_polytopes(Path(load(config).run) / "polytopes", {})
    assert list(hashes) == list(SCHEMAS)
    parts = polytopes_section(found).parts
    assert [part.name for part in parts] == [f"polytopes-{name}" for name in SCHEMAS]
    assert all(part.charts and part.tables and part.verdict for part in parts)
