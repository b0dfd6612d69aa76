"""What the reader of a store finds, and what it says when it finds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisord_ng.errors import ControlError
from supervisord_ng.model.paths import STORE
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.render import short_id
from tests.reports.samples import T0, open_store, sample


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store may be."""
    return str(tmp_path / STORE)


def test_a_list_can_be_narrowed(path: str) -> None:
    """By number, by time, and by a path, which means its instances and all below it."""
    paths = ["root/a", "root/a@1", "root/a/b@2", "root/ab", "root/a.b", "root/A", "root"]
    reports = [sample(path=one, ended=T0 + number) for number, one in enumerate(paths)]
    with open_store(path) as store:
        for report in reports:
            store.append(report)
    reader = Reader(path)

    assert reports[::-1] == reader.newest()
    assert reports[:-3:-1] == reader.newest(limit=2)
    assert reports[2::-1] == reader.newest(path="root/a")
    assert reports[:4:-1] == reader.newest(since=T0 + 5)
    assert [reports[1]] == reader.newest(limit=1, path="root/a@1", since=T0)


def test_a_report_is_found_by_either_end_of_its_id(path: str) -> None:
    """The short id of lists, a beginning, the whole; in any case of letters."""
    reports = [sample(id=f"{n:08}-6800-7abc-8def-00000000000{n}") for n in range(9)]
    with open_store(path) as store:
        for report in reports:
            store.append(report)
    reader = Reader(path)

    assert reports[3] == reader.get(reports[3].id)
    assert reports[3] == reader.get(short_id(reports[3].id))
    assert reports[3] == reader.get(" 00000003 ")
    assert reports[3] == reader.get(reports[3].id.upper())


def test_an_id_that_fits_several_or_none_says_so(path: str) -> None:
    """With what would fit, newest first; never a guess."""
    reports = [sample(id=f"{n:08}-6800-7abc-8def-0000000000{n:02}") for n in range(7)]
    with open_store(path) as store:
        for report in reports:
            store.append(report)
    reader = Reader(path)

    with pytest.raises(ControlError) as several:
        reader.get("0000")
    with pytest.raises(ControlError) as none:
        reader.get("fffff")
    with pytest.raises(ControlError) as empty:
        reader.get("")

    five = ", ".join(report.id for report in reports[:1:-1])
    assert "bad_request" == several.value.code
    assert "cannot show report 0000: several fit" == several.value.message
    assert f"did you mean: {five} and more" == several.value.hint
    assert ("not_found", "cannot show report fffff: no such report") == (
        none.value.code,
        none.value.message,
    )
    assert "not_found" == empty.value.code


def test_an_empty_file_is_an_empty_store(path: str) -> None:
    """The first daemon may have died, or run out of space, before it wrote anything."""
    Path(path).touch()

    assert [] == Reader(path).newest()
    assert 0 == Reader(path).stats().stored
    assert {} == Reader(path).incarnations()
