"""What was acknowledged is given out again, in order, whatever became of process and disk; nothing is made up."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollcall.audit.spool import Spool, SpoolFailed, SpoolFull
from rollcall.disk import flush_directory
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


@dataclass(slots=True)
class Failing:
    """Makes files last, after it failed to so many times."""

    times: int

    def __call__(self, directory: Path) -> None:
        """Flush a directory."""
        if self.times:
            self.times -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        flush_directory(directory)


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


def test_each_torn_end_is_kept(tmp_path: Path) -> None:
    """Numbers of segments begin again after a restart; what was put aside under one of them stays."""
    ends = [b"an end of the first life", b"an end of the second"]
    for end in ends:
        (tmp_path / "00000001.seg").write_bytes(end)
        with opened(tmp_path) as spool:
            assert spool.torn == 1
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.torn")) == sorted(ends)


def test_an_end_that_cannot_be_put_aside_for_good_is_not_cut_off(tmp_path: Path) -> None:
    """Where the copy may not outlive a power cut, the segment stays as it was and the spool does not open."""
    segment = tmp_path / "00000001.seg"
    segment.write_bytes(b"a torn end")
    spool = Spool(directory=tmp_path, most_bytes=1_000, flush_names=Failing(times=1))
    with pytest.raises(OSError, match="Too many open files"):
        spool.open()
    assert segment.read_bytes() == b"a torn end"


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


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_segment_that_could_not_be_begun_is_begun_again(tmp_path: Path, times: int) -> None:
    """While no file can be made records are refused; afterwards they are taken, and nothing is left of the attempts."""
    failing = Failing(times=times)
    spool = Spool(directory=tmp_path, most_bytes=1_000_000, flush_names=failing)
    spool.open()
    refused = 0
    while True:
        try:
            spool.append(b"taken").result(SECONDS)
        except SpoolFailed:
            refused += 1
        else:
            break
    spool.append(b"taken, too").result(SECONDS)
    assert refused == times // 2  # every other attempt is made while nobody waits for it
    assert failing.times == 0
    assert len(names(tmp_path)) == 1
    spool.close()
    with opened(tmp_path) as again:
        assert bodies(again) == [b"taken", b"taken, too"]


def test_whatever_goes_wrong_in_the_writing_thread_is_told_and_passes(tmp_path: Path) -> None:
    """A fault that nobody thought of fails the records that it met, and the next ones are taken."""
    faults = [RuntimeError("a text that is nobody's business")]

    def flush(handle: int) -> None:
        if faults:
            raise faults.pop()
        os.fdatasync(handle)

    spool = Spool(directory=tmp_path, most_bytes=1_000_000, flush=flush)
    spool.open()
    with pytest.raises(SpoolFailed, match=r"^RuntimeError$"):
        spool.append(b"first").result(SECONDS)
    spool.append(b"second").result(SECONDS)
    spool.close()
    assert bodies(spool) == [b"second"]


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
