"""Files are read again when they change, and what cannot be used changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rollcall.domain.errors import FileRejected
from rollcall.edge.access.watched import Watched


def numbers(*contents: bytes) -> list[int]:
    """Read one number from each file."""
    return [int(content) for content in contents]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Give two files that belong together."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("1")
    second.write_text("10")
    return first, second


def test_a_changed_file_is_read_again(files: tuple[Path, Path]) -> None:
    """An operator who replaces a file need not restart anything."""
    watched = Watched(numbers, *files)
    assert watched.get() == [1, 10]
    files[0].write_text("22")
    assert watched.get() == [22, 10]


def test_a_file_that_is_not_changed_is_not_read(files: tuple[Path, Path]) -> None:
    """Looking costs next to nothing."""
    read = []
    watched = Watched(lambda *contents: read.append(contents), *files)
    for _ in range(5):
        watched.get()
    assert len(read) == 1


def test_a_link_that_points_elsewhere_is_a_change(tmp_path: Path) -> None:
    """Kubernetes replaces a mounted secret by moving a link."""
    for name, value in (("old", "1"), ("new", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(value)
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "old")
    watched = Watched(numbers, link / "file")
    moved = tmp_path / "moved"
    moved.symlink_to(tmp_path / "new")
    moved.replace(link)
    assert watched.get() == [2]


def test_what_cannot_be_used_changes_nothing(files: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    """Half of a change, or a file that is gone, is logged once, and the last good value serves on."""
    watched = Watched(numbers, *files)
    with caplog.at_level(logging.INFO):
        files[1].write_text("not a number")
        assert watched.get() == watched.get() == [1, 10]
        files[1].unlink()
        assert watched.get() == [1, 10]
        assert [record.message for record in caplog.records] == ["file_rejected"] * 2
        files[1].write_text("30")
        assert watched.get() == [1, 30]
        assert caplog.records[-1].message == "file_read_again"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("nothing")])
def test_at_first_it_must_be_right(files: tuple[Path, Path], damage: object) -> None:
    """A server does not start with files that it cannot use; it names them."""
    assert callable(damage)
    damage(files[1])
    with pytest.raises(FileRejected, match="second"):
        Watched(numbers, *files)
