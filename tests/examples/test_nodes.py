"""The examples of several hosts: the trees in them are sound, wherever they are embedded."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from supervisord_ng.config.loading import load_on
from tests.config.host import HOST

EXAMPLES = Path(__file__).parents[2] / "examples"


def trees() -> dict[str, str]:
    """Every tree, by where it stands."""
    found = {
        str(path.relative_to(EXAMPLES)): path.read_text()
        for path in (EXAMPLES / "two-hosts").glob("*.toml")
    }
    for path in (EXAMPLES / "kubernetes").glob("*.yaml"):
        (block,) = re.findall(
            r"^  tree\.toml: \|\n((?:    .*\n|\n)+)", path.read_text(), re.MULTILINE
        )
        found[str(path.relative_to(EXAMPLES))] = textwrap.dedent(block)
    for path in (EXAMPLES / "nomad").glob("*.hcl"):
        (block,) = re.findall(r"<<TREE\n(.*?)^TREE\n", path.read_text(), re.MULTILINE | re.DOTALL)
        found[str(path.relative_to(EXAMPLES))] = re.sub(r"{{.*?}}", "0", block)
    return found


@pytest.mark.parametrize("where", sorted(trees()))
def test_the_tree_is_sound(tmp_path: Path, where: str) -> None:
    """It loads without a problem or a warning."""
    file = tmp_path / "tree.toml"
    file.write_text(trees()[where])
    loaded = load_on(HOST, str(file))
    assert () == loaded.warnings
    is_above = loaded.tree.node.listen is not None
    assert is_above == (loaded.tree.parent is None)


def test_every_example_has_a_tree() -> None:
    """None was overlooked."""
    assert {"two-hosts", "kubernetes", "nomad"} == {where.partition("/")[0] for where in trees()}
