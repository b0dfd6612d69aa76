"""The documentation names only what is there, and shows only configurations that are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from supervisord_ng.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted(  # not those of an example's own packages
    path
    for pattern in ("*.md", "docs/*.md", "configs/*.md", "examples/*.md", "examples/*/*.md")
    for path in ROOT.glob(pattern)
)
SOURCES = sorted((ROOT / "supervisord_ng").rglob("*.py"))
LINK = re.compile(r"\]\(([^)#:]+)\)")
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    """The name of a file in a test's id."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link of a page names a file."""
    links = LINK.findall(page.read_text(encoding="utf-8"))

    assert [] == [link for link in links if not (page.parent / link).exists()]


def test_pages_named_in_docstrings_exist() -> None:
    """Who is sent to a page by the code finds it."""
    named = {
        page
        for source in SOURCES
        for page in re.findall(r"docs/[\w-]+\.md", source.read_text(encoding="utf-8"))
    }

    assert [] == sorted(page for page in named if not (ROOT / page).exists())


def test_configurations_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every TOML block of a page, and every tree of an example or in configs/, passes ``sng check``."""
    trees = sorted([*(ROOT / "examples").rglob("tree.toml"), *(ROOT / "configs").glob("*.toml")])
    for page in PAGES:
        for number, block in enumerate(TOML.findall(page.read_text(encoding="utf-8"))):
            tree = tmp_path / f"{page.stem}-{number}.toml"
            tree.write_text(block, encoding="utf-8")
            trees.append(tree)

    # An ordinary user has runtime directories only where somebody made them.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for tree in trees:
        check = CliRunner().invoke(cli, ["check", str(tree)], prog_name="sng")

        assert (0, "") == (check.exit_code, check.stderr), f"{tree}\n{check.output}"
