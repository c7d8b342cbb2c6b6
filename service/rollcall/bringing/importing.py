"""`rollcall models import`: recognise a source, bring it into a repository, prove what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from rollcall.bringing.archive import read_archive
from rollcall.bringing.exports import read_export
from rollcall.bringing.hub import PREFIX, read_hub
from rollcall.bringing.hugging_face import choose
from rollcall.bringing.parts import Source, parts_of
from rollcall.bringing.placing import Brought, Place, next_revision, settings_of, write
from rollcall.bringing.proving import serves
from rollcall.bringing.refusals import advice_on
from rollcall.bringing.triton import CONFIG as TRITON_CONFIG
from rollcall.bringing.triton import read_triton
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import Declared, TensorNames
from rollcall.loader import prove
from rollcall.settings import MODEL_FILE, MODEL_NAME, LimitSettings, read_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be brought, and how: a path, or hub:ORGANISATION/NAME@COMMIT where `downloads` are allowed.

    `described`: where the tokenizer of an exported file lies, if not beside it.

    `declared` goes before what the source says. Without a `name` it is the source's own, without a `revision` the next
    number. `others` are further settings of the model. `tested`: whether it must pass as a server would have it.
    """

    path: str
    repository: Path
    declared: Declared
    described: Path | None = None
    downloads: bool = False
    name: str = ""
    revision: str = ""
    others: dict[str, object] = field(default_factory=dict)
    tested: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A revision that is there. `digest` and `serves` are empty where it was not tested."""

    path: Path
    name: str
    revision: str
    kind: str
    files: tuple[Brought, ...]
    notes: tuple[str, ...]
    digest: str
    serves: str


def bring(wanted: Wanted, told: Callable[[Source], Callable[[int], object]]) -> Imported:
    """Bring a model into a repository; `told` hears of what was found, and what it returns of each piece copied.

    Raises ModelRejected and OSError; then nothing is left in the repository.
    """
    source = _with(_found(wanted), wanted.declared)
    name = wanted.name or source.name
    if not MODEL_NAME.fullmatch(name):
        message = f"{name[:80]!r} is no name of a model: name it (--name)"
        raise ModelRejected(message)
    revision = wanted.revision or next_revision(wanted.repository, name)
    place = Place(repository=wanted.repository, name=name, revision=revision, told=told(source))
    pickled = sum(part.size for part in source.pickled)
    digest = proved = ""
    with place.staging(source.size + pickled) as staged:
        files = write(source, place, staged, settings_of(source.declared, **wanted.others))
        if wanted.tested:
            digest, proved = _prove(place, staged)
    return Imported(
        path=place.path,
        name=name,
        revision=revision,
        kind=source.kind,
        files=files,
        notes=source.notes,
        digest=digest,
        serves=proved,
    )


def _found(wanted: Wanted) -> Source:
    if not wanted.path.startswith(PREFIX):
        return find(Path(wanted.path), wanted.described, wanted.declared)
    if not wanted.downloads:
        message = f"{wanted.path[:120]}: nothing is fetched from the hub unless you say so: --allow-download"
        raise ModelRejected(message)
    return read_hub(wanted.path)


def find(path: Path, described: Path | None, declared: Declared) -> Source:
    """Say what a source is, and find its model's files. Raises ModelRejected with advice for what cannot be brought."""
    if path.is_dir():
        parts = parts_of(path)
        if TRITON_CONFIG in parts:
            return read_triton(path, described=described, declared=declared)
        if models := sorted(each.parent.name for each in path.glob(f"*/{TRITON_CONFIG}")):
            message = f"{path} is a Triton repository: name one of its models ({', '.join(models)[:200]})"
            raise ModelRejected(message)
        chosen = choose(parts, str(path))
        return Source(
            kind="a Hugging Face directory",
            name=_directory_name(path),
            copied=chosen.copied,
            pickled=chosen.pickled,
            notes=chosen.notes,
        )
    if not path.is_file():
        message = f"no file or directory {path}"
        raise ModelRejected(message)
    if path.suffix == ".mar":
        return read_archive(path)
    if path.suffix == ".onnx":
        return read_export(path, described=described)
    advice = advice_on([path.name])
    message = f"{path} is no directory, .onnx or .mar file" if not advice else f"{path.parent / advice}"
    raise ModelRejected(message)


def _directory_name(path: Path) -> str:
    """The directory's own, but in a cache of the hub the model's: models--ORGANISATION--NAME/snapshots/COMMIT."""
    real = path.resolve()
    return real.parent.parent.name.rpartition("--")[2] if real.parent.name == "snapshots" else real.name


def _with(source: Source, declared: Declared) -> Source:
    """What is declared goes before what the source says; names of tensors it has taken into account itself."""
    own = source.declared
    merged = Declared(
        labels=declared.labels or own.labels,
        task=declared.task or own.task,
        max_tokens=declared.max_tokens or own.max_tokens,
        max_units=declared.max_units or own.max_units,
        family=declared.family or own.family,
        tensors=declared.tensors if own.tensors == TensorNames() else own.tensors,
    )
    return replace(source, declared=merged)


def _prove(place: Place, staged: Path) -> tuple[str, str]:
    """Load and prove it where it is; return its digest, and what it serves. Raises ModelRejected."""
    spec = read_model(staged / MODEL_FILE, name=place.name, revision=place.revision)
    try:
        card = prove(spec, LimitSettings()).card
    except ModelRejected as error:
        said = str(error).replace(str(staged.resolve()), place.name).replace(str(staged), place.name)
        message = f"it cannot be served: {said}"
        raise ModelRejected(message) from error
    return card.ref.digest, serves(card)
