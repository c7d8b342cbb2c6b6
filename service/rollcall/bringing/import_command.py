"""`rollcall models import`: its options, and what it prints. Heavy packages wait until it runs."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.bringing.names import plain_name
from rollcall.ending import DONE

if TYPE_CHECKING:
    from rollcall.bringing.importing import Imported
    from rollcall.bringing.parts import Source

TENSORS = ("input_ids", "attention_mask", "token_type_ids", "output")


def import_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a Hugging Face directory, an .onnx file, a model of a Triton repository, a TorchServe .mar, "
        "or with --allow-download hub:ORGANISATION/NAME@COMMIT",
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
    parser.add_argument("--max-tokens", type=int, metavar="N", help="where texts are cut (default: what it reads)")
    parser.add_argument(
        "--family", default="", metavar="TYPE", help="model type of the architecture that it is built like, if unknown"
    )
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
    parser.add_argument("--allow-download", action="store_true", help="fetch a commit of the Hugging Face hub")
    parser.add_argument("--no-test", action="store_true", help="do not load and prove it")


def _tensor(text: str) -> tuple[str, str]:
    name, _, called = text.partition("=")
    if name not in TENSORS or not called:
        message = f"expected one of {', '.join(TENSORS)}, =, and what the graph calls it; got {text[:80]!r}"
        raise argparse.ArgumentTypeError(message)
    return name, called


def import_model(options: argparse.Namespace) -> int:
    """Bring a model in, and say what came of it. Raises ModelRejected, OSError."""
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
            max_tokens=options.max_tokens,
            family=options.family,
            tensors=TensorNames(**dict(options.tensor)),
        ),
        described=options.tokenizer,
        name=options.name or "",
        revision=options.revision or "",
        others={"tokens": options.token or None, "dtype": options.dtype},
        tested=not options.no_test,
        downloads=options.allow_download,
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
