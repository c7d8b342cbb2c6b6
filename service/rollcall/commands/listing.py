"""`rollcall models`: what a running server serves, and what may be done with a repository. Heavy imports wait."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING

from rollcall.bringing.commands import HERE, THERE, There
from rollcall.commands.connecting import ask, target_options, who
from rollcall.ending import DONE, FAILED, CommandError

if TYPE_CHECKING:
    from rollcall_client import MapRecord, Model, ModelRecord


def models_options(parser: argparse.ArgumentParser) -> None:
    """Say what is done: list, or an action with names of its own."""
    target_options(parser)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: list)")
    listing = actions.add_parser("list", help="list the models of a running server")
    target_options(listing)
    for action in HERE:
        own = actions.add_parser(action.name, help=action.help, description=action.help)
        action.options(own)
        own.add_argument("--json", action="store_true", help="write JSON")
        own.set_defaults(act=action.run)
    for asked in THERE:
        own = actions.add_parser(asked.name, help=asked.help, description=asked.help)
        asked.options(own)
        target_options(own, asked.timeout)
        own.set_defaults(act=partial(_ask_server, asked))


def _ask_server(asked: There, options: argparse.Namespace) -> int:
    from rollcall.bringing.peers import CallFailed, Server

    timeout = asked.timeout if options.timeout is None else options.timeout
    try:
        return asked.run(options, Server(target=options.target, timeout=timeout, **who(options)))
    except CallFailed as error:
        raise CommandError(FAILED, str(error)) from error


def models(options: argparse.Namespace) -> int:
    """Do the action that was named, or list the models."""
    if hasattr(options, "act"):
        return int(options.act(options))
    found = ask(options, lambda client: client.models())
    if options.json:
        print(json.dumps([model.to_dict() for model in found], ensure_ascii=False, indent=2))
    else:
        print("\n\n".join(_described(model) for model in found))
    return DONE


def _described(model: Model) -> str:
    ref, calibration = model.ref, model.calibration
    failed = [test for test in model.self_tests if not test.passed]
    facts = {
        "decides": f"{model.task.words}: {', '.join(model.labels)}",
        "by": f"{model.threshold.label} at {model.threshold.probability:g} or more"
        if model.threshold
        else "the largest",
        "weights": f"{ref.digest} {ref.revision}".strip(),
        "runs on": f"{ref.backend}, {ref.device}, {ref.dtype} ({model.family})",
        "reads": _reads(model),
        "maps": ", ".join(kind.words for kind in model.maps),
        "lacks": "; ".join(f"{missing.map.words}: {missing.reason}" for missing in model.missing_maps),
        "flags": f"calibration {calibration.id} {calibration.statement}".strip() if calibration else "not calibrated",
        "explains": "yes"
        if model.explainable
        else "no: " + "; ".join(f"{test.name}: {test.detail}" for test in failed),
    }
    head = ref.name + (" (default)" if model.is_default else "")
    lines = [head, *(f"  {name:9}{fact}" for name, fact in facts.items() if fact)]
    return "\n".join(lines + [f"  {'so far':9}{fact}" for fact in _so_far(model.record)])


def _reads(model: Model) -> str:
    from rollcall_client import Modality

    if model.modality is Modality.IMAGE:
        return f"images, as {model.max_tokens} tokens" + ("; experimental" if model.experimental else "")
    return f"{model.max_tokens} tokens, {model.max_characters} characters" + ("; pairs" if model.text_pairs else "")


def _so_far(record: ModelRecord | None) -> list[str]:
    """What the answers of a model came to, a line for each map that was asked for, and one for the promise."""
    if record is None:
        return []
    lines = [_map_so_far(found) for found in record.maps]
    promise = record.promise
    if promise is not None:
        kept = f"BROKEN: more than {promise.alpha:.0%} of answers are wrong" if promise.broken else "kept"
        lines.append(
            f"promise {kept}; {promise.wrong} of the latest {promise.answers:,} answers checked again were wrong "
            f"(95 % lower limit {promise.lower_limit:.1%}, promised at most {promise.alpha:.0%})"
        )
    return [f"{line}; since {record.since:%Y-%m-%d}" for line in lines]


def _map_so_far(found: MapRecord) -> str:
    flags = ", ".join(f"{flag.name} in {found.share(flag):.0%}" for flag in found.flags)
    mean = "" if found.mean_alignment is None else f", mean A {found.mean_alignment:+.2f}"
    again = "".join(
        f"; of {one.rechecked:,} {one.flag.name} checked again {one.wrong:,} wrong ({one.lower:.1%} to {one.upper:.1%})"
        for one in found.rechecked
    )
    return f"{found.map.words}: {flags} of {found.requests:,} requests{mean}, ln E {found.log_e_value:+.1f}{again}"
