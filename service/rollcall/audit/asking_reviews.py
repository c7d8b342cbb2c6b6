"""The command that asks a running server about its reviews, and takes their steps."""
# ruff: noqa: ANN401, PLC0415 - questions pass on what the client gives them; imports wait for their command

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollcall_client import AuditClient

STATES = ("open", "assigned", "decided", "closed")
DISPOSITIONS = ("upheld", "overturned", "explanation-unreliable", "model-defect", "data-defect", "no-action")
STEPS = ("open", "assign", "comment", "decide", "second", "approve", "return", "reopen")
REASON = "kept, sealed, with who you are"


def review_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("step", choices=("list", "statistics", "show", *STEPS), help="what to do")
    parser.add_argument("record", nargs="?", metavar="ID", help="id of a record, or of an explanation")
    parser.add_argument("--reason", default="", help=f"why; {REASON}")
    parser.add_argument("--case", default="", metavar="NUMBER", help="open: the matter as others number it")
    parser.add_argument("--to", default="", metavar="NAME", help="assign: to whom; to you, if left out")
    parser.add_argument("--disposition", choices=DISPOSITIONS, help="decide, second: what it comes to")
    parser.add_argument("--state", choices=STATES, help="list: those in this state only")
    parser.add_argument("--overdue", action="store_true", help="list: those that should be closed by now only")


def review(client: AuditClient, options: argparse.Namespace) -> Any:
    """Take a step, or ask how reviews are. Raises ValueError where a step names no record."""
    from rollcall_client import Disposition, ReviewState

    name, why = options.record, options.reason
    if options.step == "list":
        state = ReviewState[options.state.upper()] if options.state else ReviewState.UNSPECIFIED
        return client.reviews(state, overdue_only=options.overdue)
    if options.step == "statistics":
        return client.review_statistics()
    if not name:
        message = f"review {options.step} needs the ID of a record"
        raise ValueError(message)
    decision = Disposition[(options.disposition or "unspecified").upper().replace("-", "_")]
    steps: dict[str, Callable[[], Any]] = {
        "show": lambda: client.review(name),
        "open": lambda: client.open_review(name, why, case_number=options.case),
        "assign": lambda: client.assign_review(name, options.to, why),
        "comment": lambda: client.comment_review(name, why),
        "decide": lambda: client.decide_review(name, decision, why),
        "second": lambda: client.second_review(name, decision, why),
        "approve": lambda: client.approve_review(name, why),
        "return": lambda: client.return_review(name, why),
        "reopen": lambda: client.reopen_review(name, why),
    }
    return steps[options.step]()
