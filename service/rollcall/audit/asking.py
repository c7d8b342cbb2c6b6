"""The commands that ask a running server about its records: each a row of ASKED.

A question takes the client and the options, and returns what the server told, as a value of the client's; how that
reads is said in `telling`.
"""
# ruff: noqa: ANN401, PLC0415 - questions pass on what the client gives them; imports wait for their command

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollcall.audit import telling
from rollcall.audit.asking_reviews import REASON, review, review_options

if TYPE_CHECKING:
    from rollcall_client import AuditClient

GROUNDS = ("person", "obligation", "mistake")
PERIODS = ("day", "week", "month")
EVENTS = ("access", "erasure", "hold", "release", "replay", "review", "export")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One command; `question` returns what the server told, `lines` says how it reads."""

    name: str
    help: str
    options: Callable[[argparse.ArgumentParser], None]
    question: Callable[[AuditClient, argparse.Namespace], Any]
    lines: Callable[[Any], Iterator[str]]
    each: bool = False
    """The question returns an iterator, and `lines` reads one of what it brings, as soon as it comes."""


# --- search, read, events --------------------------------------------------------------------------------------------


def _search_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("filter", nargs="?", default="", help='e.g. "flag = unfaithful AND time >= 2026-01-01"')
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="most records (default %(default)s)")


def _search(client: AuditClient, options: argparse.Namespace) -> Any:
    return list(islice(client.records(options.filter, page_size=min(options.limit, 1000)), options.limit))


def _read_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", metavar="ID", help="id of a record, or of an explanation")
    parser.add_argument("--part", action="append", default=[], metavar="KIND", help="open this sealed part: input, ...")
    parser.add_argument("--reason", default="", help=f"why it is opened; {REASON}")
    parser.add_argument("--masked", action="store_true", help="hide what identifies people in texts")


def _events_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", default="", metavar="ID", help="of this record only")
    parser.add_argument("--type", choices=EVENTS, help="of this type only")


def _events(client: AuditClient, options: argparse.Namespace) -> Any:
    from rollcall_client import EventType

    kind = EventType[options.type.upper()] if options.type else EventType.UNSPECIFIED
    return client.events(record_id=options.record, kind=kind)


def _trends_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="name of the model")
    for name, help_ in (("since", "the first day, in UTC; 30 days back, if left out"), ("until", "the last one")):
        parser.add_argument(f"--{name}", type=date.fromisoformat, metavar="YYYY-MM-DD", help=help_)
    parser.add_argument("--by", choices=PERIODS, default="day", help="how long a period is (default %(default)s)")
    parser.add_argument("--digest", default="", help="of these weights only")


def _trends(client: AuditClient, options: argparse.Namespace) -> Any:
    from rollcall_client import TrendPeriod

    period = TrendPeriod[options.by.upper()]
    asked = {"since": options.since, "until": options.until, "period": period, "model_digest": options.digest}
    return client.trends(options.model, **asked)


def _stream_options(parser: argparse.ArgumentParser) -> None:
    text = "index of the first entry; the one behind the last that was kept, to go on"
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="INDEX", help=text)
    parser.add_argument("--follow", action="store_true", help="wait for further ones, until the server stops")


# --- bundle ----------------------------------------------------------------------------------------------------------


def _bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("filter", nargs="?", default="", help="records that this asks for; all if nothing is named")
    parser.add_argument("--record", action="append", default=[], metavar="ID", help="this record; may be repeated")
    parser.add_argument("--reason", required=True, help=f"why; {REASON}")
    parser.add_argument("--texts", action="store_true", help="show the words of inputs in pages, masked")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.zip", help="where the zip goes")


def _bundle(client: AuditClient, options: argparse.Namespace) -> Any:
    exported = client.export(
        options.reason,
        record_ids=options.record,
        text=options.filter,
        texts=options.texts,
        timeout=options.timeout,
    )
    options.out.write_bytes(exported.zip)
    return exported.header


def _bundles_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("filter", nargs="?", default="", help="records that this asks for; all if nothing is named")
    parser.add_argument("--reason", required=True, help=f"why; {REASON}")
    parser.add_argument("--texts", action="store_true", help="show the words of inputs in pages, masked")
    parser.add_argument("--size", type=int, default=1000, metavar="N", help="records of each zip (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIRECTORY", help="where the zips go; a new one")


def _bundles(client: AuditClient, options: argparse.Namespace) -> Any:
    options.out.mkdir(parents=True)
    headers = []
    found = client.exports(
        options.reason, options.filter, size=options.size, texts=options.texts, timeout=options.timeout
    )
    for number, exported in enumerate(found, start=1):
        (options.out / f"part-{number:04d}.zip").write_bytes(exported.zip)
        headers.append(exported.header)
    return headers


# --- replay ----------------------------------------------------------------------------------------------------------


def _replay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", metavar="ID", help="id of a record, or of an explanation")
    parser.add_argument("--text", help="its text, where the record does not hold it")
    parser.add_argument("--text-pair", help="its second text")
    parser.add_argument("--reason", required=True, help=f"why; {REASON}")


# --- erase, hold, release, retention ---------------------------------------------------------------------------------


def _erase_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", metavar="ID", help="one record")
    what.add_argument("--subject", metavar="REF", help="every record about a person, by what callers call them")
    parser.add_argument(
        "--tenant", help="with --subject, whose: where several tenants have records about such a person"
    )
    parser.add_argument("--ground", choices=GROUNDS, required=True, help="why, in one word")
    parser.add_argument("--reason", required=True, help=f"why, in your words; {REASON}")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the certificate goes")


def _erase(client: AuditClient, options: argparse.Namespace) -> Any:
    from rollcall_client import ErasureGround

    ground = ErasureGround[options.ground.upper()]
    if options.record:
        certificate = client.erase_record(options.record, ground, options.reason)
    else:
        certificate = client.erase_subject(options.subject, ground, options.reason, tenant=options.tenant)
    if options.out is not None:
        options.out.write_text(telling.written(certificate) + "\n", encoding="utf-8")
    return certificate


def _hold_options(parser: argparse.ArgumentParser) -> None:
    _release_options(parser)
    parser.add_argument("--filter", default="", help="where no record is named: hold what this asks for now")


def _release_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("matter", help="the case number; it stays readable for ever")
    parser.add_argument("--record", action="append", default=[], metavar="ID", help="this record; may be repeated")
    parser.add_argument("--reason", required=True, help=f"why; {REASON}")


def _retention_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apply", action="store_true", help="erase what is due; without it, say what that would be")
    parser.add_argument("--reason", default="", help=f"why now, with --apply; {REASON}")


ASKED = (
    Asked(
        name="search",
        help="find records of a running server",
        options=_search_options,
        question=_search,
        lines=telling.search,
    ),
    Asked(
        name="read",
        help="read a record of a running server, sealed parts for a reason",
        options=_read_options,
        question=lambda client, o: client.record(o.record, parts=o.part, reason=o.reason, masked=o.masked),
        lines=telling.read,
    ),
    Asked(name="events", help="who did what", options=_events_options, question=_events, lines=telling.event),
    Asked(
        name="trends",
        help="how the answers of a model went: flags, mismatches, reviews and replays by day, week or month",
        options=_trends_options,
        question=_trends,
        lines=telling.trends,
    ),
    Asked(
        name="stream",
        help="write entries of the log with what they name, a line of JSON each",
        options=_stream_options,
        question=lambda client, o: client.entries(o.first, follow=o.follow),
        lines=telling.entry,
        each=True,
    ),
    Asked(
        name="bundle",
        help="export records of a running server, as one zip with proofs, pages and the verifier",
        options=_bundle_options,
        question=_bundle,
        lines=telling.bundle,
    ),
    Asked(
        name="bundles",
        help="export records however many they are, as numbered zips that verify by themselves",
        options=_bundles_options,
        question=_bundles,
        lines=telling.bundles,
    ),
    Asked(
        name="replay",
        help="work a record out again, and compare",
        options=_replay_options,
        question=lambda client, o: client.replay(o.record, o.reason, text=o.text, text_pair=o.text_pair),
        lines=telling.replay,
    ),
    Asked(
        name="erase",
        help="erase a record, or a person, for good",
        options=_erase_options,
        question=_erase,
        lines=telling.erase,
    ),
    Asked(
        name="hold",
        help="let nobody erase records, for a matter",
        options=_hold_options,
        question=lambda client, o: client.place_hold(o.matter, o.reason, record_ids=o.record, text=o.filter),
        lines=telling.hold,
    ),
    Asked(
        name="release",
        help="end a hold",
        options=_release_options,
        question=lambda client, o: client.release_hold(o.matter, o.reason, record_ids=o.record),
        lines=telling.hold,
    ),
    Asked(
        name="review",
        help="review records: list, show, or a step",
        options=review_options,
        question=review,
        lines=telling.review,
    ),
    Asked(
        name="retention",
        help="erase what was kept long enough, or say what that would be",
        options=_retention_options,
        question=lambda client, o: client.apply_retention(o.reason, dry_run=not o.apply),
        lines=telling.retention,
    ),
)
