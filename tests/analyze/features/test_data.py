"""What the data files hold is what was found; read back as the browser reads them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyze.features.data import CHUNK, _write, significant_digits
from tests.analyze.features.site import CONTEXT, HOSTILE, LARGE, SMALL, TEXTS, write_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site")).parent


def read(path: Path) -> Any:
    text = path.read_text(encoding="ascii")
    assert text.startswith("winnowData(")
    assert text.endswith(");\n")
    return json.loads(text.removeprefix("winnowData(").removesuffix(");\n"))


def test_examples_name_tokens_on_which_the_latent_fires(site: Path):
    source, chunk = read(site / "data/text/text.js"), read(site / "data/large/0.js")
    assert source["tokens"] == TEXTS
    assert source["context"] == CONTEXT
    text = source["sequences"]
    for latent in range(LARGE - 1):
        record = chunk[latent]
        values = [dict(zip(pairs[::2], pairs[1::2], strict=True))[0] for _, pairs in record["top"]]
        assert values == sorted(values, reverse=True)
        assert len({token // CONTEXT for token, _ in record["top"]}) == len(record["top"])  # one per sequence
        for token, pairs in record["top"]:
            assert text[token] == latent
            around = {token + offset: value for offset, value in zip(pairs[::2], pairs[1::2], strict=True)}
            inside = range(token - token % CONTEXT, token - token % CONTEXT + CONTEXT)
            assert sorted(around) == [place for place in inside if text[place] == latent]
            assert all(value == (2.0 if place % 4 == 3 else 0.999) for place, value in around.items())
        assert sum(record["counts"]) == text.count(latent)
        assert record["spread"] == sorted(record["spread"], key=lambda event: -event[2])
    assert chunk[LARGE - 1]["top"] == chunk[LARGE - 1]["spread"] == chunk[LARGE - 1]["counts"] == []


def test_the_overview_says_of_every_latent_what_it_is_found_by(site: Path):
    overview = read(site / "data/large/latents.js")
    text = read(site / "data/text/text.js")["sequences"]
    assert overview["rows"] == len(text)
    assert overview["firings"] == [text.count(i) for i in range(LARGE - 1)] + [0]
    assert overview["peaks"] == [[[i, 100]] for i in range(LARGE - 1)] + [[]]
    assert [row[0] for row in overview["promoted"]] == list(range(LARGE))
    assert overview["others"][0]["path"] == "dictionaries/x/small"
    assert 0 < overview["others"][0]["chance"] < 1


def test_neighbours_and_relatives_name_the_other_by_its_place(site: Path):
    [chunk] = [read(site / "data/small/0.js")]
    for latent in range(SMALL):
        assert [near[0] for near in chunk[latent]["nearest"][0][:2]] == [latent, latent + SMALL]
        assert chunk[latent]["children"] == [[0, latent, 0.894, 0.7]]
        assert chunk[latent]["parents"] == []


def test_the_page_names_hostile_things_as_text(site: Path):
    page = (site / "index.html").read_text(encoding="utf-8")
    catalogue = page.split('id="catalogue">')[1].split("</script>")[0]
    assert "<" not in catalogue
    assert json.loads(catalogue)["run"] == "runs/<b>x</b>"
    assert HOSTILE not in page
    assert "@" not in page.split("<style>")[0]


def test_chunks_hold_every_latent_once(site: Path):
    assert len(read(site / "data/large/0.js")) == LARGE <= CHUNK
    assert not (site / "data/large/1.js").exists()


def test_three_digits_are_the_nearest_and_short():
    values = np.array([0.0, 1.0, 0.30000001, 12345.0, -0.00123456, 999.6, 1e-30, 65504.0, 2.0 / 3])
    rounded = significant_digits(values)
    np.testing.assert_allclose(rounded, [float(f"{v:.3g}") for v in values], rtol=1e-15)
    assert all(len(repr(v)) <= 9 for v in rounded.tolist() if abs(v) > 1e-20)


def test_numbers_that_are_not_finite_are_null(tmp_path: Path):
    values = significant_digits(np.array([np.inf, 1.23456, -np.inf, np.nan, 3e38]))
    assert np.isnan(values[[0, 2, 3]]).all()
    assert values[[1, 4]].tolist() == [1.23, 3e38]
    _write(tmp_path, "one", {"effects": values.tolist()})
    assert read(tmp_path / "one.js") == {"effects": [None, 1.23, None, None, 3e38]}
