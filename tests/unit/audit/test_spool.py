"""What was acknowledged is given out again, in order, whatever became of process and disk; nothing is made up."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollcall.audit.spool import Spool, SpoolFailed, SpoolFull
from tests.waiting import wait_until

SECONDS = 30


@contextmanager
def opened(directory: Path, most_bytes: int = 1_000_000, segment_bytes: int = 1_000) -> Iterator[Spool]:
    """Open a spool for the length of a block."""
    spool = Spool(directory=directory, most_bytes=most_bytes, segment_bytes=segment_bytes)
    spool.open()
    try:
        yield spool
    finally:
        spool.close()


def bodies(spool: Spool, most: int = 1_000) -> list[bytes]:
    """Read what there is."""
    return [frame.body for frame in spool.read(most)]


def names(directory: Path) -> list[str]:
    """Give the names of the segments."""
    return sorted(path.name for path in directory.glob("*.seg"))


def fill(spool: Spool, count: int) -> list[bytes]:
    """Append bodies, and wait until all are flushed."""
    written = [f"record {number}".encode() * 10 for number in range(count)]
    for start in range(0, count, 5):
        waiting = [spool.append(body) for body in written[start : start + 5]]
        assert wait(waiting, SECONDS).not_done == set()
    return written


def test_records_are_given_out_in_order_and_once(tmp_path: Path) -> None:
    """What was appended is read in its order, over several segments, and not a second time."""
    with opened(tmp_path) as spool:
        written = fill(spool, 50)
        assert bodies(spool, 20) == written[:20]
        assert bodies(spool) == written[20:]
        assert bodies(spool) == []
        assert len(list(tmp_path.glob("*.seg"))) > 1


def test_what_was_not_released_comes_again_after_a_restart(tmp_path: Path) -> None:
    """A new process is given everything that is not known to be in the log."""
    with opened(tmp_path) as spool:
        written = fill(spool, 50)
        frames = spool.read(30)
        spool.release(frames[-1])
    with opened(tmp_path) as spool:
        again = bodies(spool)
        assert again == written[-len(again) :]
        assert set(written[30:]) <= set(again)


def test_released_segments_are_removed(tmp_path: Path) -> None:
    """A spool whose records are all in the log takes no room, and has room again."""
    with opened(tmp_path, most_bytes=6_000) as spool:
        for _ in range(10):
            fill(spool, 20)
            spool.release(spool.read(1_000)[-1])
    spool.sweep()
    assert spool.used_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_records_are_given_out_again_after_a_failure(tmp_path: Path) -> None:
    """Rewinding gives out what was read but not released."""
    with opened(tmp_path) as spool:
        written = fill(spool, 10)
        frames = spool.read(10)
        spool.release(frames[3])
        spool.rewind()
        assert bodies(spool) == written[4:]


def test_a_full_spool_refuses(tmp_path: Path) -> None:
    """Beyond its size nothing is taken, and what was taken stays."""
    with opened(tmp_path, most_bytes=500) as spool:
        written = fill(spool, 4)
        with pytest.raises(SpoolFull):
            spool.append(b"x" * 200)
        assert bodies(spool) == written


def test_little_room_is_given_back_too(tmp_path: Path) -> None:
    """A spool with less room than a segment takes many times its room, as long as the log takes the records."""
    with opened(tmp_path, most_bytes=1_000, segment_bytes=16_000) as spool:
        for _ in range(10):
            fill(spool, 4)
            spool.release(spool.read(4)[-1])


@pytest.mark.parametrize("cut", [1, 5, 8, 9, 40])
def test_a_torn_end_is_put_aside(tmp_path: Path, cut: int) -> None:
    """A frame that was being written when the process died is no record, and its bytes are not thrown away."""
    with opened(tmp_path, segment_bytes=1_000_000) as spool:
        written = fill(spool, 5)
    (segment,) = tmp_path.glob("*.seg")
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[:cut])
    with opened(tmp_path) as spool:
        assert bodies(spool) == written
        assert spool.torn == 1
    assert next(tmp_path.glob("*.torn")).read_bytes() == whole[:cut]


def test_an_end_of_zeros_is_no_record(tmp_path: Path) -> None:
    """File systems may leave zeros where something was to be written."""
    with opened(tmp_path, segment_bytes=1_000_000) as spool:
        written = fill(spool, 2)
    (segment,) = tmp_path.glob("*.seg")
    segment.write_bytes(segment.read_bytes() + bytes(4096))
    with opened(tmp_path) as spool:
        assert bodies(spool) == written


def test_a_disk_that_fails_is_heard_of(tmp_path: Path) -> None:
    """Where flushing fails nobody is told that a record is there, and the next one is written elsewhere."""
    failing = [False]

    def flush(handle: int) -> None:
        if failing[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.fdatasync(handle)

    spool = Spool(directory=tmp_path, most_bytes=1_000_000, flush=flush)
    spool.open()
    spool.append(b"first").result(SECONDS)
    failing[0] = True
    with pytest.raises(SpoolFailed, match="No space"):
        spool.append(b"second").result(SECONDS)
    failing[0] = False
    spool.append(b"third").result(SECONDS)
    spool.close()
    assert bodies(spool) == [b"first", b"third"]
    with opened(tmp_path) as again:
        assert bodies(again) == [b"first", b"third"]


def test_the_next_segment_is_there_before_it_is_needed(tmp_path: Path) -> None:
    """Nobody waits for a file to be made; one that nothing was written to is gone when the spool closes."""
    with opened(tmp_path) as spool:
        wait_until(lambda: names(tmp_path) == ["00000001.seg"])
        spool.append(b"first").result(SECONDS)
        spool.renew()
        wait_until(lambda: names(tmp_path) == ["00000001.seg", "00000003.seg"])
        spool.release(spool.read(1)[-1])
        assert names(tmp_path) == ["00000003.seg"]
        spool.append(b"second").result(SECONDS)
        assert names(tmp_path) == ["00000003.seg"]
        spool.renew()
        wait_until(lambda: len(names(tmp_path)) == 2)
    assert names(tmp_path) == ["00000003.seg"]


def test_a_spool_says_how_far_the_log_is_behind(tmp_path: Path) -> None:
    """What was flushed and not released counts, over several segments, also what an earlier process left."""
    with opened(tmp_path) as spool:
        fill(spool, 50)
        whole = spool.behind_bytes
        frames = spool.read(50)
        spool.release(frames[19])
        assert spool.behind_bytes == whole - sum(8 + len(frame.body) for frame in frames[:20])
        spool.release(frames[-1])
        assert spool.behind_bytes == 0
        fill(spool, 3)
        left = spool.behind_bytes
    with opened(tmp_path) as spool:
        assert spool.behind_bytes >= left > 0


def test_a_caller_who_left_does_not_stop_the_others(tmp_path: Path) -> None:
    """A cancelled append neither kills the writer nor loses a record."""
    with opened(tmp_path) as spool:
        gone = spool.append(b"gone")
        gone.cancel()
        spool.append(b"here").result(SECONDS)
        assert bodies(spool) == [b"gone", b"here"]


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    """After it is closed an append is refused, and what was waiting is on the disk."""
    with opened(tmp_path) as spool:
        last = spool.append(b"last")
    assert last.result(0) is None
    with pytest.raises(SpoolFull):
        spool.append(b"late")
