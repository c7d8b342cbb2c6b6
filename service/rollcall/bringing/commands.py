"""`rollcall models ...`: what is done with a repository here, and what is asked of a server. Heavy imports wait."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.settings import MODEL_NAME

if TYPE_CHECKING:
    from rollcall.bringing.importing import Imported
    from rollcall.bringing.parts import Source
    from rollcall.bringing.peers import Server

DONE, FAILED, WRONG = 0, 1, 2
TENSORS = ("input_ids", "attention_mask", "token_type_ids", "output")
LOAD_SECONDS = 600.0
"""To build and prove a large model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What is done with files; `run` returns the exit code."""

    name: str
    help: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """What a server is asked for; `timeout` in seconds, unless told otherwise."""

    name: str
    help: str
    timeout: float
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Server], int]


def named_revision(text: str) -> tuple[str, str]:
    """Read NAME or NAME@REVISION; for argparse."""
    name, at, revision = text.partition("@")
    if not MODEL_NAME.fullmatch(name) or (at and not MODEL_NAME.fullmatch(revision)):
        message = f"expected NAME or NAME@REVISION, got {text[:80]!r}"
        raise argparse.ArgumentTypeError(message)
    return name, revision


def plain_name(text: str) -> str:
    """Read a model's name; for argparse."""
    if not MODEL_NAME.fullmatch(text):
        message = f"expected letters, digits, dot, underscore, hyphen, at most 64, got {text[:80]!r}"
        raise argparse.ArgumentTypeError(message)
    return text


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="as repository.directory")


def _verify(options: argparse.Namespace) -> int:
    """FAILED where anything cannot be served, or nothing is there."""
    from rollcall.bringing.proving import prove_repository

    try:
        found = list(prove_repository(options.directory))
    except OSError as error:
        print(f"rollcall: {options.directory} cannot be read: {error.strerror}", file=sys.stderr)
        return WRONG
    if options.json:
        print(json.dumps([one.to_dict() for one in found], indent=2))
    else:
        print("\n".join(map(str, found)) or f"{options.directory} holds no revision of a model")
    return FAILED if any(one.problem for one in found) or not found else DONE


def _load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=named_revision, metavar="NAME[@REVISION]", help="which (default: its newest revision)"
    )


def _load(options: argparse.Namespace, server: Server) -> int:
    from rollcall.bringing.asking import load

    name, revision = options.model
    serving = load(server, name, revision)
    told = {"model": name, "revision": serving}
    print(json.dumps(told) if options.json else f"{name} {serving} is served")
    return DONE


def _unload_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=plain_name, metavar="NAME", help="which")


def _unload(options: argparse.Namespace, server: Server) -> int:
    from rollcall.bringing.asking import unload

    unload(server, options.model)
    print(json.dumps({"model": options.model}) if options.json else f"{options.model} takes no further requests")
    return DONE


def _import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="a Hugging Face directory, an .onnx file, a model of a Triton repository, or a TorchServe .mar",
    )
    parser.add_argument(
        "--repository", type=Path, default=Path("models"), metavar="DIRECTORY", help="where to (default %(default)s)"
    )
    parser.add_argument("--name", type=plain_name, metavar="NAME", help="of the model (default: its own)")
    parser.add_argument(
        "--revision", type=plain_name, metavar="NAME", help="of the revision (default: the next number)"
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="DIRECTORY",
        help="of an .onnx file: where its tokenizer and config.json are, if not beside it",
    )
    parser.add_argument("--labels", metavar="A,B", help="of the classes, in order (default: what the source says)")
    parser.add_argument("--task", choices=["single_label", "multi_label"], help="default: what the source says")
    parser.add_argument(
        "--tensor",
        action="append",
        default=[],
        type=_tensor,
        metavar="NAME=GRAPH'S",
        help=f"what an .onnx file calls {', '.join(TENSORS)}; may be repeated",
    )
    parser.add_argument(
        "--token", action="append", default=[], metavar="TOKEN", help="of a language model: a token to be asked for"
    )
    parser.add_argument("--dtype", metavar="NAME", help="precision that it will be served in (default float32)")
    parser.add_argument("--no-test", action="store_true", help="do not load and prove it")


def _tensor(text: str) -> tuple[str, str]:
    name, _, called = text.partition("=")
    if name not in TENSORS or not called:
        message = f"expected one of {', '.join(TENSORS)}, =, and what the graph calls it; got {text[:80]!r}"
        raise argparse.ArgumentTypeError(message)
    return name, called


def _import(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from rollcall.bringing.importing import Wanted, bring
    from rollcall.domain.decision import Task
    from rollcall.domain.model import Declared, TensorNames

    wanted = Wanted(
        path=options.source,
        repository=options.repository,
        declared=Declared(
            labels=tuple(options.labels.split(",")) if options.labels else None,
            task=Task(options.task) if options.task else None,
            tensors=TensorNames(**dict(options.tensor)),
        ),
        described=options.tokenizer,
        name=options.name or "",
        revision=options.revision or "",
        others={"tokens": options.token or None, "dtype": options.dtype},
        tested=not options.no_test,
    )
    with tqdm(unit="B", unit_scale=True, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as bar:

        def told(source: Source) -> Callable[[int], object]:
            bar.set_description(source.name)
            bar.reset(total=source.size)
            return bar.update

        found = bring(wanted, told)
    print(json.dumps(asdict(found), indent=2, default=str, ensure_ascii=False) if options.json else _imported(found))
    return DONE


def _imported(found: Imported) -> str:
    lines = [f"{found.path}: {found.name} {found.revision}, from {found.kind}"]
    lines += [
        f"  {each.name}: rewritten from {each.origin} (sha256 {each.origin_sha256[:12]}... -> {each.sha256[:12]}...)"
        for each in found.files
        if each.sha256 != each.origin_sha256
    ]
    lines += [f"  note: {note}" for note in found.notes]
    return "\n".join([*lines, f"  {found.digest}, {found.serves}" if found.digest else "  not tested"])


HERE = (
    Here(
        name="import",
        help="bring a model of another server into a repository, and prove it",
        options=_import_options,
        run=_import,
    ),
    Here(
        name="verify",
        help="load and prove every revision of a repository, without serving it",
        options=_verify_options,
        run=_verify,
    ),
)
THERE = (
    There(
        name="load",
        help="have a server take a model of its repository, where repository.mode is explicit",
        timeout=LOAD_SECONDS,
        options=_load_options,
        run=_load,
    ),
    There(
        name="unload",
        help="have a server take no further requests for a model, and give back its memory",
        timeout=LOAD_SECONDS,
        options=_unload_options,
        run=_unload,
    ),
)
