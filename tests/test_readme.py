"""What the README says is there, is there."""

import re

from tests.experiments import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "all", "harvest", "verify"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_link_of_the_docs_leads_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())]
    assert len(links) >= 4
    for page, link in links:
        assert (page.parent / link).exists(), (page.name, link)


def test_every_configuration_and_dictionary_named_exists():
    for path in re.findall(r"configs/[\w-]+\.toml", README):
        assert (ROOT / path).exists(), path
    demo = (ROOT / "configs" / "demo.toml").read_text()
    name = r"dictionaries/([\w.]+)/topk-(\d+)-k(\d+)-lr([\d.]+)-seed0"
    hook, size, k, rate = re.search(name, README).groups()  # type: ignore[union-attr]
    assert f'"{hook}"' in demo
    assert size in demo
    assert f"k = {k}\n" in demo
    assert float(rate) in {float(found) for found in re.findall(r"learning_rate = (\S+)", demo)}
