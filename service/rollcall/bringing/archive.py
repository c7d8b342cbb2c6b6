"""A TorchServe archive (.mar, a zip) that holds a Hugging Face model: read with suspicion, its code never.

Layout: MAR-INF/MANIFEST.json names the file of weights and the handler; the other files lie beside each other, among
them index_to_name.json (labels) and setup_config.json of TorchServe's own handler for transformers.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from rollcall.bringing.hugging_face import CONFIG, choose
from rollcall.bringing.parts import Part, Source
from rollcall.bringing.refusals import TORCHSCRIPT
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import Declared
from rollcall.settings import LEAST_TOKENS

MANIFEST = "MAR-INF/MANIFEST.json"
LABELS, SETUP = "index_to_name.json", "setup_config.json"
CLASSIFYING = "sequence_classification"
MOST_LENGTH = 1_000_000
MOST_DIGITS = 20
"""Of a number; of some thousands Python makes none."""
MOST_MEMBERS = 10_000
MOST_GROWTH = 20
"""Files may have so many times the archive's bytes: weights hardly shrink, and a bomb grows a thousandfold."""
SMALL = 1 << 20
"""Archives of less may grow to this."""
ENCRYPTED = 1


def read_archive(path: Path) -> Source:
    """Find the model in an archive. Raises ModelRejected, OSError."""
    members = _members(path)
    manifest = Part.json(members[MANIFEST]) if MANIFEST in members else None
    told = manifest.get("model") if manifest is not None else None
    if not isinstance(told, dict):
        message = f"{path} has no {MANIFEST} that names a model: it is no archive of TorchServe's"
        raise ModelRejected(message)
    weights = told.get("serializedFile")
    if isinstance(weights, str) and weights.endswith((".pt", ".pth", ".ts")):
        message = f"{path}: {weights} {TORCHSCRIPT}"
        raise ModelRejected(message)
    folder = _folder(members, path)
    setup = folder[SETUP].json() if SETUP in folder else {}
    if setup.get("mode", CLASSIFYING) != CLASSIFYING:
        message = f"{path} is for {setup['mode']!s:.80}: only {CLASSIFYING} is explained"
        raise ModelRejected(message)
    chosen = choose(folder, str(path))
    notes = [*chosen.notes]
    if told.get("handler"):
        notes.append(f"the handler {told['handler']!s:.80} was left behind: whatever it did to texts is not done here")
    return Source(
        kind="an archive of TorchServe",
        name=str(told.get("modelName") or path.stem),
        copied=chosen.copied,
        pickled=chosen.pickled,
        declared=Declared(
            labels=_labels(folder[LABELS], path) if LABELS in folder else None,
            max_tokens=_length(setup.get("max_length"), path),
        ),
        notes=tuple(notes),
    )


def _folder(members: Mapping[str, Part], path: Path) -> dict[str, Part]:
    """The files that lie beside the one configuration; raises ModelRejected where there is none, or several."""
    folders: dict[str, dict[str, Part]] = defaultdict(dict)
    for name, part in members.items():
        folders[str(PurePosixPath(name).parent)][part.name] = part
    found = [folder for folder in folders.values() if CONFIG in folder]
    if len(found) != 1:
        message = f"{path} holds {len(found) or 'no'} {CONFIG}: expected one Hugging Face model"
        raise ModelRejected(message)
    return found[0]


def _labels(part: Part, path: Path) -> tuple[str, ...]:
    """Labels by class, as TorchServe's handlers read them; raises ModelRejected."""
    names = part.json()
    try:
        labels = tuple(names[str(index)] for index in range(len(names)))
    except KeyError as error:
        message = f"{path}: {LABELS} has no label for class {error}"
        raise ModelRejected(message) from error
    if not all(isinstance(label, str) and label for label in labels):
        message = f"{path}: {LABELS} has a label that is no text"
        raise ModelRejected(message)
    return labels


def _length(said: object, path: Path) -> int | None:
    """Where the handler cuts texts; a number, or one as text. Raises ModelRejected."""
    if said is None:
        return None
    text = str(said)
    if not text.isdecimal() or len(text) > MOST_DIGITS or not LEAST_TOKENS <= int(text) <= MOST_LENGTH:
        message = f"{path}: {SETUP} cuts texts at {said!s:.20} tokens: expected {LEAST_TOKENS} to {MOST_LENGTH}"
        raise ModelRejected(message)
    return int(text)


def _members(path: Path) -> dict[str, Part]:
    """Files of an archive by their names in it; raises ModelRejected for anything that no archiver writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        message = f"{path} is no zip, or a damaged one: {str(error)[:120]}"
        raise ModelRejected(message) from error
    if len(found) > MOST_MEMBERS:
        message = f"{path} holds {len(found)} files: more than {MOST_MEMBERS}"
        raise ModelRejected(message)
    size, most = sum(member.file_size for member in found), max(SMALL, MOST_GROWTH * path.stat().st_size)
    if size > most:
        message = f"{path} would grow from {path.stat().st_size} to {size} bytes: more than any weights do"
        raise ModelRejected(message)
    members: dict[str, Part] = {}
    for member in found:
        if problem := _problem(member, members):
            message = f"{path}: {member.filename[:80]!r} {problem}"
            raise ModelRejected(message)
        if not member.is_dir():
            members[member.filename] = _part(path, member)
    return members


def _problem(member: zipfile.ZipInfo, before: Mapping[str, Part]) -> str:
    """Why a member is refused; empty where it is a file of its archive."""
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in member.filename:
        return "leads out of the archive"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a device"
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is compressed in a way that no archiver of TorchServe's uses"
    if member.flag_bits & ENCRYPTED:
        return "is encrypted"
    return "is there twice" if member.filename in before else ""


def _part(path: Path, member: zipfile.ZipInfo) -> Part:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            message = f"{path}: {member.filename[:80]!r} is damaged: {str(error)[:120]}"
            raise ModelRejected(message) from error

    return Part(name=PurePosixPath(member.filename).name, size=member.file_size, open=opened)
