"""Where records wait, on the disk, until they are in the log: what was flushed here survives process and database.

A spool is a directory of segments, written by one thread of one process and by nobody else: `00000001.seg` and so on. A
segment is frames: length and CRC-32 of a body (little-endian, 4 bytes each), then the body. Appends that come together
are written and flushed (fdatasync) together. A segment that is no longer written to is removed once all of it is in the
log; the next one is there before it is needed, empty. After a restart every segment that is left is given out again:
whoever sequences must know what it has already.

A frame that is cut off or does not match its CRC was being written when the process died, and nobody was told that it
was there. It ends its segment; what follows is put aside under `.torn`, counted, and never guessed at. CRC-32 as zlib
has it: CRC-32C would find no more torn writes and is not in the standard library.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from rollcall.disk import flush_directory

SEGMENT_BYTES = 16 * 1024 * 1024
"""Size at which the next segment is begun."""
LEAST_SEGMENTS = 4
"""Into which the room is divided at least: the one that is written to is not given back, and must not be all of it."""
SUFFIX = ".seg"
TORN = ".torn"
_HEAD = struct.Struct("<II")


class SpoolFull(Exception):
    """There is no room for another record."""


class SpoolFailed(Exception):
    """The disk did not take a record; nobody was told that it was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A body as it was read, and where it ends: the segment's number, and the offset."""

    body: bytes = field(repr=False)
    segment: int
    end: int


@dataclass(slots=True, kw_only=True)
class Spool:
    """Appends and gives out, in order. `most_bytes` on the disk; beyond it appends raise SpoolFull.

    `appended` is called, in the writing thread, when there is something new to read. `flush` is what makes writes last,
    and `flush_names` new files.
    """

    directory: Path
    most_bytes: int
    appended: Callable[[], None] = lambda: None
    flush: Callable[[int], None] = os.fdatasync
    flush_names: Callable[[Path], None] = flush_directory
    segment_bytes: int = SEGMENT_BYTES
    torn: int = 0
    """Ends of segments that were put aside when the spool was opened."""
    _lock: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _waiting: deque[tuple[bytes, Future[None]]] = field(default_factory=deque, repr=False)
    _waiting_bytes: int = 0
    _ends: dict[int, int] = field(default_factory=dict, repr=False)
    """Flushed length of each segment on the disk."""
    _segment: int = 0
    """The one that is written to, or a number between two that are."""
    _released: tuple[int, int] = (0, 0)
    """Segment and offset up to which frames are in the log."""
    _cursor: tuple[int, int] = (0, 0)
    """Segment and offset up to which frames were given out."""
    _handle: int | None = None
    _closing: bool = False
    _renewing: bool = False
    _thread: threading.Thread | None = None

    def open(self) -> None:
        """Find what an earlier process left, and begin to write behind it. Raises OSError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            number, whole = int(path.stem), self._repaired(path)
            self._segment = number + 1
            if whole:
                self._ends[number] = whole
            else:
                path.unlink()
        self._thread = threading.Thread(target=self._write_all, name="rollcall-spool")
        self._thread.start()

    def append(self, body: bytes) -> Future[None]:
        """Append a body; the future is done when it is flushed, or fails with SpoolFailed. Raises SpoolFull."""
        size = _HEAD.size + len(body)
        done: Future[None] = Future()
        with self._lock:
            if self._closing or self.used_bytes + size > self.most_bytes:
                message = "the audit spool is closed" if self._closing else "the audit spool is full"
                raise SpoolFull(message)
            self._waiting.append((body, done))
            self._waiting_bytes += size
            self._lock.notify()
        return done

    @property
    def used_bytes(self) -> int:
        """Bytes on the disk and on the way there."""
        return sum(self._ends.values()) + self._waiting_bytes

    @property
    def behind_bytes(self) -> int:
        """Flushed bytes that are not in the log yet."""
        segment, released = self._released
        with self._lock:
            ends = list(self._ends.items())
        return sum(end - (released if number == segment else 0) for number, end in ends if number >= segment)

    def read(self, most: int) -> list[Frame]:
        """Return at most `most` flushed frames after those that were given out before; raises OSError."""
        frames: list[Frame] = []
        with self._lock:
            ends = dict(sorted(self._ends.items()))
        for number, end in ends.items():
            start = self._cursor[1] if number == self._cursor[0] else 0
            if number < self._cursor[0] or start >= end or len(frames) == most:
                continue
            with self._path(number).open("rb") as file:
                file.seek(start)
                while start < end and len(frames) < most:
                    length, _ = _HEAD.unpack(file.read(_HEAD.size))
                    start += _HEAD.size + length
                    frames.append(Frame(body=file.read(length), segment=number, end=start))
            self._cursor = (number, start)
        return frames

    def rewind(self) -> None:
        """Give out again what was not released."""
        self._cursor = self._released

    def release(self, frame: Frame) -> None:
        """Forget everything up to and including `frame`: it is in the log. Raises OSError."""
        self._released = (frame.segment, frame.end)
        self.sweep()

    def sweep(self) -> None:
        """Remove segments that are all in the log and no longer written to. Raises OSError."""
        with self._lock:
            gone = [
                number
                for number, end in self._ends.items()
                if number != self._segment and (number, end) <= self._released
            ]
            for number in gone:
                del self._ends[number]
        for number in gone:
            self._path(number).unlink(missing_ok=True)

    def renew(self) -> None:
        """Begin another segment, so that what is in the log does not stay here until this one is full."""
        with self._lock:
            self._renewing = bool(self._ends.get(self._segment))
            self._lock.notify()

    def close(self) -> None:
        """Write what waits, and stop. What was read may still be released."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join()

    # --- the writing thread ------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            with suppress(OSError):  # whoever appends next is told
                self._current()  # while nobody waits for it
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closing or self._renewing)
                renewing, self._renewing = self._renewing, False
                batch = [(body, done, done.set_running_or_notify_cancel()) for body, done in self._waiting]
                self._waiting.clear()
                ended = self._closing and not batch
            if ended:
                break
            if renewing:
                self._end_segment()
            if not batch:
                continue
            failure = self._write([body for body, _, _ in batch])
            for _, done, awaited in batch:
                if awaited and failure is None:
                    done.set_result(None)
                elif awaited:
                    done.set_exception(failure)
            self.appended()
        self._end_segment()

    def _write(self, bodies: list[bytes]) -> SpoolFailed | None:
        """Write and flush some bodies; after a failure the segment is written to no more."""
        size = sum(_HEAD.size + len(body) for body in bodies)
        failure = None
        try:
            data = b"".join(_HEAD.pack(len(body), zlib.crc32(body)) + body for body in bodies)
            handle = self._current()
            _write_whole(handle, data)
            self.flush(handle)
        except Exception as error:  # noqa: BLE001 - the only thread: whoever waits is told, and the next batch is tried
            failure = SpoolFailed(getattr(error, "strerror", None) or type(error).__name__)
        with self._lock:
            self._waiting_bytes -= size
            if failure is None:
                self._ends[self._segment] += size
            whole = self._ends.get(self._segment, 0)
        if failure is not None and self._handle is not None:
            with suppress(OSError):  # a full disk needs the room; elsewhere the next start cuts it off
                os.ftruncate(self._handle, whole)
        if failure is not None or whole >= min(self.segment_bytes, self.most_bytes // LEAST_SEGMENTS):
            self._end_segment()
        return failure

    def _current(self) -> int:
        """Return the segment that is written to, begun if there is none: whole, or not at all. Raises OSError."""
        if self._handle is None:
            number = self._segment + 1
            handle = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                self.flush_names(self.directory)
            except OSError:
                os.close(handle)
                self._end_segment()
                with suppress(OSError):  # the next start removes it
                    self._path(number).unlink(missing_ok=True)
                raise
            with self._lock:
                self._segment, self._ends[number] = number, 0
            self._handle = handle
        return self._handle

    def _end_segment(self) -> None:
        """Write no more to the segment; one that is empty goes at once."""
        with self._lock:
            if self._ends.get(self._segment) == 0:
                del self._ends[self._segment]
                with suppress(OSError):  # the next start removes it
                    self._path(self._segment).unlink(missing_ok=True)
            self._segment += 1  # so that the last one may be removed; its number is not used again
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(OSError):  # what was acknowledged was flushed
                os.close(handle)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08d}{SUFFIX}"

    def _repaired(self, path: Path) -> int:
        """Put the torn end of a segment aside; return the length of what is whole."""
        data = path.read_bytes()
        whole = 0
        while whole + _HEAD.size <= len(data):
            length, crc = _HEAD.unpack_from(data, whole)
            body = data[whole + _HEAD.size : whole + _HEAD.size + length]
            if not length or len(body) < length or zlib.crc32(body) != crc:
                break
            whole += _HEAD.size + length
        if whole < len(data):
            self.torn += 1
            with _fresh(path.with_suffix(TORN)).open("xb") as aside:
                aside.write(data[whole:])
                aside.flush()
                os.fsync(aside.fileno())
            self.flush_names(self.directory)
            with path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        return whole


def _fresh(path: Path) -> Path:
    """Give a name that no file has: the numbers of segments begin again where none was left."""
    names = chain((path,), (path.with_stem(f"{path.stem}-{number}") for number in count(2)))
    return next(name for name in names if not name.exists())


def _write_whole(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
