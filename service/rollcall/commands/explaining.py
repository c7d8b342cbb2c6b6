"""`rollcall explain`: one decision, or every line of a file. Heavy imports wait."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollcall.commands.connecting import ask, target_options
from rollcall.commands.progress_bar import ProgressBar
from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckLevel
from rollcall.ending import DONE, FAILED, WRONG, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollcall_client import Client, Explanation


def explain_options(parser: argparse.ArgumentParser) -> None:
    """Say what is explained, by which maps, and how closely it is checked."""
    maps = [kind.value.replace("_", "-") for kind in MapKind]
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", help="what to classify and explain")
    what.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="explain each line of a file; print a line of JSON for each",
    )
    what.add_argument("--image", type=Path, metavar="FILE", help="explain a picture, a PNG or JPEG file")
    parser.add_argument("--text-pair", metavar="TEXT", help="second text, for models that read pairs")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--word", type=int, metavar="N", help="of models that label words: the N-th word's, from 0")
    which.add_argument("--character", type=int, metavar="N", help="likewise: that of the word with the N-th character")
    parser.add_argument("--model", default="", metavar="NAME", help="which model (default: the server's default)")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        choices=maps,
        help="a map to return; may be repeated (default: the four usual ones)",
    )
    parser.add_argument("--primary", choices=maps, help="the map whose flag is the answer's flag")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--level", choices=[level.value for level in CheckLevel], help="how much to check")
    depth.add_argument(
        "--thorough",
        dest="level",
        action="store_const",
        const=CheckLevel.THOROUGH.value,
        help="check everything, with progress on stderr: --level thorough",
    )
    parser.add_argument(
        "--class", dest="target_class", metavar="LABEL|INDEX", help="explain this class, not the predicted one"
    )
    parser.add_argument(
        "--foil", metavar="LABEL|INDEX", help="why not this class: contrast with it, not with all others"
    )
    parser.add_argument(
        "--threshold", type=_labelled_probability, metavar="LABEL=P", help="decide by: probability of LABEL at least P"
    )
    parser.add_argument("--max-rows", type=int, metavar="N", help="most counterfactual rows to spend")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of all random draws")
    parser.add_argument("--decision", default="", metavar="REF", help="what you call this decision, for its record")
    parser.add_argument("--reported", metavar="LABEL", help="the label that was acted on, to be compared")
    parser.add_argument("--subject", default="", metavar="REF", help="what you call the person whom it is about")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page for the browser")
    target_options(parser)


def _labelled_probability(text: str) -> tuple[str, float]:
    label, separator, probability = text.rpartition("=")
    try:
        value = float(probability)
    except ValueError:
        value = -1.0
    if not (label and separator and 0 < value < 1):
        message = f"expected LABEL=P with P between 0 and 1, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return label, value


def explain(options: argparse.Namespace) -> int:
    """Explain a text, a picture or the lines of a file, and print it."""
    if options.file is not None:
        return _explain_file(options)
    explanation = ask(options, lambda client: _explanation(client, options))
    if options.html is not None:
        from rollcall_client.html import render_page

        options.html.write_text(render_page([explanation]), encoding="utf-8")
    if options.json:
        print(json.dumps(explanation.to_dict(), ensure_ascii=False, indent=2))
        return DONE
    from rollcall_client.terminal import render

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(render(explanation, color=color, width=shutil.get_terminal_size().columns))
    return DONE


def _explain_file(options: argparse.Namespace) -> int:
    """Explain the lines of a file that hold something; the exit code tells whether all could be."""
    if options.html is not None:
        raise CommandError(WRONG, "--html shows one explanation: leave out --file")
    with options.file.open(encoding="utf-8") as lines:
        failed = ask(options, lambda client: _explain_lines(client, lines, options))
    return FAILED if failed else DONE


def _explain_lines(client: Client, lines: Iterable[str], options: argparse.Namespace) -> int:
    """Print what became of each line, by its number from 1; return how many could not be explained."""
    from rollcall_client import Question

    question = _question(client, options)
    of_text = {name: question.pop(name, None) for name in ("text_pair", "word", "character")}
    texts = ((number, line.rstrip("\r\n")) for number, line in enumerate(lines, start=1) if line.strip())
    questions = (Question(text=text, request_id=f"line-{number}", **of_text) for number, text in texts)
    failed = 0
    for result in client.explain_many(questions, timeout=options.timeout, **question):
        told: dict[str, Any] = {"line": int(result.request_id.removeprefix("line-"))}
        if result.explanation is None:
            failed += 1
            told |= {"error": str(result.error)}
        elif options.json:
            told |= {"explanation": result.explanation.to_dict()}
        else:
            told |= _in_short(result.explanation)
        print(json.dumps(told, ensure_ascii=False), flush=True)
    return failed


def _in_short(explanation: Explanation) -> dict[str, Any]:
    """What a table of many decisions needs of one."""
    shown, record = explanation.shown, explanation.audit
    return {
        "predicted": explanation.prediction.predicted,
        "flag": explanation.flag.name,
        "reason": explanation.reason.name,
        "map": explanation.primary_map.name,
        "shown": {"map": shown.map.name, "flag": shown.verdict.flag.name},
        "explanation_id": explanation.explanation_id,
        "record_id": record.record_id if record else None,
    }


def _explanation(client: Client, options: argparse.Namespace) -> Explanation:
    """Ask, with progress on stderr where it will take a while."""
    from rollcall_client import CheckLevel as WireLevel

    question = _question(client, options)
    if options.image is not None:
        if options.text_pair is not None:
            raise CommandError(WRONG, "--text-pair goes with a text: leave out --image")
        if options.word is not None or options.character is not None:
            raise CommandError(WRONG, "--word and --character go with a text: leave out --image")
        return client.explain_image(options.image, **question)
    if question.get("level") is not WireLevel.THOROUGH:
        return client.explain(options.text, **question)
    with ProgressBar(stream=sys.stderr, width=shutil.get_terminal_size().columns) as bar:
        return client.explain_stream(options.text, progress=bar.show, **question)


def _question(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    """Turn options into keyword arguments of the client; what was left out stays out.

    A number is a label where the model has such a one, and else an index.
    """
    from rollcall_client import CheckLevel as WireLevel
    from rollcall_client import MapKind as WireMap
    from rollcall_client import Threshold

    def kind(name: str) -> WireMap:
        return WireMap[name.upper().replace("-", "_")]

    def label(named: str | None) -> str | int | None:
        if named is None or not named.isdecimal() or named in client.model(options.model).labels:
            return named
        return int(named)

    question = {
        "text_pair": options.text_pair,
        "word": options.word,
        "character": options.character,
        "model": options.model or None,
        "maps": [kind(name) for name in options.map] or None,
        "primary_map": options.primary and kind(options.primary),
        "level": options.level and WireLevel[options.level.upper()],
        "target": label(options.target_class),
        "foil": label(options.foil),
        "threshold": options.threshold and Threshold(label=options.threshold[0], probability=options.threshold[1]),
        "max_rows": options.max_rows,
        "seed": options.seed,
        "decision_ref": options.decision or None,
        "subject_ref": options.subject or None,
        "reported_label": options.reported,
    }
    return {name: value for name, value in question.items() if value is not None}
