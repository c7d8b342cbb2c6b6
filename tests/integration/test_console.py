"""The console against a real server: what people see and do, and what they cannot."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from rollcall.audit.merkle import leaf_hash
from rollcall.audit.notes import Proof, Verifier
from rollcall.audit.verify import verify
from rollcall.console.app import ROUTES, console
from rollcall.console.commands import connecting
from rollcall.console.demo import PEOPLE, TEXTS, Demonstration, demonstration
from rollcall.console.options import ConsoleOptions
from rollcall.console.showing import HEADERS, STYLE_PATH
from rollcall_client import EventType, Flag
from tests.console import BASE, Page, Somebody
from tests.waiting import wait_until

ROW = '<th scope="row"><a href="/records/'
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</textarea><script>alert(1)</script>",
    "\u202egnp.exe\u202c a\u2066b",
    "a\x0bb\x7f \x1b[2J {{ 7*7 }}",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u200bzero",
)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A server with records, the console in front of it, and the two people of the demonstration."""

    made: Demonstration
    app: ASGIApp
    ada: Somebody
    ben: Somebody
    directory: Path

    def newest(self, wanted: str = "") -> str:
        """Id of the newest record that a filter asks for."""
        with self.made.ask("ada") as client:
            return client.search(wanted, page_size=1).records[0].record_id


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Serve the demonstration, and the console with the log's key."""
    directory = tmp_path_factory.mktemp("console")
    with demonstration(directory, PEOPLE | {"otto": ("officer",), "carla": ("approver",)}) as made:
        key = Verifier.parse((directory / "log" / "log.vkey").read_text())
        app = console(ConsoleOptions(target=made.server.target, log_key=key), connecting(made.server.target))
        ada, ben = (Somebody(app, made.tokens[name]) for name in ("ada", "ben"))
        yield Desk(made=made, app=app, ada=ada, ben=ben, directory=directory / "log")


def proved(desk: Desk, record_id: str) -> Page:
    """Load a record's page once its entry is signed."""
    found: list[Page] = []

    def signed() -> bool:
        found.append(desk.ada.look(f"/records/{record_id}"))
        return "No proof yet" not in found[-1].text

    wait_until(signed)
    return found[-1]


def test_a_wrong_token_signs_nobody_in(desk: Desk) -> None:
    """The service says so; the token is on no page."""
    stranger = Somebody(desk.app)
    refused = stranger.send(stranger.look("/sign-in"), "/sign-in", token="wrong-token")  # noqa: S106 - a wrong one
    assert refused.status == 403
    assert "not valid" in refused.text
    assert "wrong-token" not in refused.source
    assert stranger.send(stranger.look("/sign-in"), "/sign-in", token="a b").status == 403  # noqa: S106 - none at all
    assert stranger.send(stranger.look("/sign-in"), "/sign-in", token="").status == 403


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in ROUTES])
def test_nobody_sees_or_does_anything_without_signing_in(desk: Desk, method: str, path: str) -> None:
    """Every page of the table leads to the sign-in, and back to where one wanted to go."""
    address = path.format(record_id="1", action="open", name="demo", kind="entry")
    reply = TestClient(desk.app, base_url=BASE, follow_redirects=False).request(method, address, data={})
    assert reply.status_code == 303
    assert reply.headers["location"].startswith("/sign-in")


def test_after_signing_in_one_is_where_one_wanted_to_be(desk: Desk) -> None:
    """Also with a filter; and the cookie holds no token, cannot be read by scripts, and is sent to nobody else."""
    person = Somebody(desk.app)
    asked = person.look("/records?q=flag+%3D+unfaithful")
    reply = person.http.post("/sign-in", data=asked.form("/sign-in").fields | {"token": desk.made.tokens["ada"]})
    assert str(reply.url).endswith("/records?q=flag+%3D+unfaithful")
    (first, *_) = reply.history
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert desk.made.tokens["ada"] not in first.headers["set-cookie"]


def test_cookies_of_a_console_behind_tls_are_sent_by_tls_alone(desk: Desk) -> None:
    """And bound to its very name."""
    options = ConsoleOptions(target=desk.made.server.target, public_url="https://audit.example")
    reply = TestClient(console(options, connecting("")), base_url="https://audit.example").get("/sign-in")
    assert reply.headers["set-cookie"].startswith("__Host-rollcall=")
    assert "; secure" in reply.headers["set-cookie"].lower()


@pytest.mark.parametrize("path", ["/sign-in", "/records", "/nowhere", STYLE_PATH, "/records/nothing", "/records.csv"])
def test_every_answer_forbids_whatever_is_not_ours(desk: Desk, path: str) -> None:
    """No script, no frame, no other site's style, nothing kept; failures included."""
    reply = desk.ada.http.get(path)
    for name, value in HEADERS.items():
        if name == "Cache-Control" and path == STYLE_PATH:
            continue
        assert reply.headers[name] == value
    assert "script-src" not in HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]


def test_another_name_in_the_request_is_refused(desk: Desk) -> None:
    """A page of another site cannot make its name lead here."""
    assert TestClient(desk.app, base_url="http://evil.example").get("/sign-in").status_code == 400


@pytest.mark.parametrize("path", [path for method, path, _ in ROUTES if method == "POST"])
def test_forms_of_others_are_refused(desk: Desk, path: str) -> None:
    """Without this browser's own token, from another site, without a length, and when they are far too long."""
    address = path.format(record_id=desk.newest(), action="open")
    token = {"form_token": desk.ada.look("/try").form("/try").fields["form_token"]}
    http = desk.ada.http
    assert http.post(address, data={"reason": "x"}).status_code == 403
    assert http.post(address, data={"form_token": "guess"}).status_code == 403
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert http.post(address, data=token, headers=headers).status_code == 403
    assert http.post(address, content=iter([b"a=b"])).status_code == 411
    assert http.post(address, data=token | {"reason": "x" * 300_000}).status_code == 413


def test_records_are_found(desk: Desk) -> None:
    """All of them, by flag, by a chosen condition, and by a name that is in no address."""
    page = desk.ada.look("/records")
    assert page.source.count(ROW) == len(TEXTS) + 2
    unfaithful = desk.ada.look("/records?q=flag+%3D+unfaithful")
    assert ">UNFAITHFUL<" in unfaithful.source
    assert ">FAITHFUL<" not in unfaithful.source
    chosen = desk.ada.look("/records?q=flag+%3D+unfaithful+OR+flag+%3D+faithful&type=explanation&model=demo")
    wanted = '(flag = unfaithful OR flag = faithful) AND type = "explanation" AND model = "demo"'
    assert wanted in [form.fields.get("q") for form in chosen.forms]
    found = desk.ada.send(page, "/records", subject="customer 4")
    assert found.source.count(ROW) == 2
    assert "customer" not in found.address


def test_a_wrong_filter_says_where_it_is_wrong(desk: Desk) -> None:
    """With what was typed still there."""
    page = desk.ada.look("/records?q=flag+~+secret")
    assert page.status == 400
    assert "filter" in page.text
    assert "flag ~ secret" in [form.fields.get("q") for form in page.forms]


def test_pages_follow_each_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older and older, until there is nothing more."""
    monkeypatch.setattr("rollcall.console.pages.finding.PAGE_SIZE", 4)
    seen, page = list[str](), desk.ada.look("/records")
    while True:
        seen += [link for link in page.links if link.startswith("/records/")]
        older = [link for link in page.links if "&page=" in link]
        if not older:
            break
        page = desk.ada.look(older[0])
    assert len(seen) == len(set(seen)) == len(TEXTS) + 2


def test_the_same_comes_as_a_table(desk: Desk) -> None:
    """One row a record, with named columns."""
    reply = desk.ada.http.get("/records.csv?q=type+%3D+decision")
    head, row, end = reply.text.split("\r\n")
    assert head.startswith("record_id,log_index,type,")
    assert ",decision," in row
    assert end == ""
    assert reply.headers["content-disposition"] == 'attachment; filename="records.csv"'


def test_a_record_leads_with_its_verdict_and_is_verified(desk: Desk) -> None:
    """Verdict, decision, evidence, review, timeline, and a proof that was worked out here."""
    page = proved(desk, desk.newest("flag = unfaithful AND mismatch = true"))
    at = 0
    for heading in (
        "UNFAITHFUL",
        "Do not rely on this map",
        "May not be given to a person as a reason",
        "blocked by: flag, mismatch",
        "The caller acted on something else",
        "Decision",
        "Maps",
        "What the words do, measured",
        "Checks of",
        "Reproducibility",
        "Review",
        "Timeline",
        "Verified: this record is what was logged",
    ):
        at = page.text.index(heading, at)
    assert "DOES NOT HOLD" not in page.text
    assert TEXTS[1] not in page.source


def test_what_is_sealed_is_opened_for_a_reason(desk: Desk) -> None:
    """The picture with its words, the twin beside it; and the log says who saw it."""
    record_id = desk.newest('subject = "customer 3"')
    page = desk.ada.look(f"/records/{record_id}")
    assert "charming" not in page.source
    refused = desk.ada.send(page, "/open", reason="")
    assert refused.status == 400
    assert "reason" in refused.text
    opened = desk.ada.send(page, "/open", reason="A complaint.")
    assert "charming" in opened.text
    assert "Alternative, same prediction" in opened.text
    with desk.made.ask("ada") as client:
        event = client.events(record_id=record_id, kind=EventType.ACCESS)[0]
        flag = client.record(record_id).summary.flag
    assert f"Entry {event.log_index} of the log says so" in opened.text
    assert ("<mark" in opened.source) or flag is not Flag.FAITHFUL
    assert "A complaint" not in desk.ada.look("/events?type=access").source
    assert "ada" in desk.ada.look("/events?type=access").text


def test_it_takes_two_to_close_a_review(desk: Desk) -> None:
    """Steps in their order with their reasons; whoever decided cannot approve, whatever their roles."""
    address = f"/records/{desk.newest('review = open AND held = true')}"
    page = desk.ben.look(address)
    offered = [form.action for form in page.forms if "/review/" in form.action]
    assert offered == [f"{address}/review/assign", f"{address}/review/comment"]
    page = desk.ben.send(page, "/review/assign")
    assert "Assigned toben" in page.text.replace("\n", "")
    refused = desk.ben.send(page, "/review/decide", disposition="UPHELD", rationale="")
    assert refused.status == 400
    assert "rationale" in refused.text
    unchosen = desk.ben.send(page, "/review/decide", rationale="the words say so")
    assert "disposition: choose one" in unchosen.text
    assert unchosen.form("/review/decide").fields["rationale"] == "the words say so"
    page = desk.ben.send(page, "/review/decide", disposition="UPHELD", rationale="the words say so")
    refused = desk.ben.send(page, "/review/approve", rationale="I was right")
    assert refused.status == 409
    assert "second pair of eyes" in refused.text
    assert refused.form("/review/approve").fields["rationale"] == "I was right"
    desk.ben.send(page, "/review/return", rationale="let somebody else look")
    assert not desk.ada.look(address).offers("/review/decide")
    page = desk.ada.send(desk.ada.look(address), "/review/assign")
    page = desk.ada.send(page, "/review/decide", disposition="OVERTURNED", rationale="the words say otherwise")
    assert not page.offers("/review/approve")
    closed = desk.ben.send(desk.ben.look(address), "/review/approve", rationale="agreed")
    assert "overturned by ada, approved by ben" in closed.text
    assert "the words say otherwise" in closed.text
    assert "closed" in desk.ada.look("/reviews?state=closed").text


def test_a_record_comes_to_the_same_again(desk: Desk) -> None:
    """And a decision is explained afterwards, on a page with its picture and its own record."""
    decided = desk.newest("type = decision")
    page = desk.ada.look(f"/records/{decided}")
    assert "Worked out again: exact" in desk.ada.send(page, "/replay", reason="a spot check").text
    explained = desk.ada.send(page, "/explain", reason="an objection")
    assert "Explained afterwards" in explained.text
    assert "What the words do, measured" in explained.text


def test_holds_stand_in_the_way_of_erasing(desk: Desk) -> None:
    """An officer holds, releases and erases; the certificate is shown; nobody else is offered any of it."""
    record_id = desk.newest('subject = "customer 5"')
    page = desk.ada.look("/holds")
    held = desk.ada.send(page, "/place", matter="case 5", record_ids=record_id, reason="a dispute")
    assert "1 record held." in held.text
    erase = {"record_id": record_id, "ground": "PERSON", "reason": "a letter"}
    assert "tick the box" in desk.ada.send(page, "/erase", **erase).text
    refused = desk.ada.send(page, "/erase", **erase, sure="yes")
    assert refused.status == 409
    assert "case 5" in refused.text
    assert "1 record released." in desk.ada.send(page, "/release", matter="case 5", reason="settled").text
    erased = desk.ada.send(page, "/erase", **erase, sure="yes")
    assert "Erased: 1 record, for good" in erased.text
    shown = proved(desk, record_id)
    assert "Its key is destroyed" in shown.text
    assert "Verified" in shown.text
    assert not shown.offers(f"{record_id}/open")
    assert "Nothing has days in the settings" in desk.ada.send(page, "/retention").text
    assert not desk.ben.look("/holds").offers("/erase")
    token = desk.ben.look("/try").form("/try").fields["form_token"]
    assert desk.ben.http.post("/holds/erase", data=erase | {"sure": "yes", "form_token": token}).status_code == 403


def test_the_files_of_a_record_verify_without_the_console(desk: Desk) -> None:
    """Entry and proof, exactly as they are in the log."""
    record_id = desk.newest('subject = "customer 0"')
    proved(desk, record_id)
    kinds = ("entry", "proof", "envelope")
    files = {kind: desk.ada.http.get(f"/records/{record_id}/files/{kind}").text for kind in kinds}
    key = Verifier.parse((desk.directory / "log.vkey").read_text())
    assert Proof.parse(files["proof"]).check(leaf_hash(files["entry"].encode()), [key]).size > 1
    assert json.loads(files["envelope"])["record_id"] == record_id
    assert desk.ada.http.get(f"/records/{record_id}/files/secret").status_code == 404


def test_records_are_taken_away_as_evidence_that_verifies(desk: Desk, tmp_path: Path) -> None:
    """One record, or what a filter asks for; the zip verifies by itself, and the log says who took it."""
    record_id = desk.newest('subject = "customer 0"')
    page = proved(desk, record_id)
    token = page.form("/exports").fields
    refused = desk.ada.http.post("/exports", data=token | {"reason": ""})
    assert refused.status_code == 400
    reply = desk.ada.http.post("/exports", data=token | {"reason": "an inquiry", "texts": "yes"})
    assert reply.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(reply.content)) as export:
        export.extractall(tmp_path)
    assert verify(tmp_path, key=Verifier.parse((desk.directory / "log.vkey").read_text())).problems == []
    assert record_id in (tmp_path / "records.jsonl").read_text()
    assert "Exports" in desk.ada.look("/events?type=export").text
    wanted = desk.ada.look("/records?q=type+%3D+explanation").form("/exports").fields
    assert wanted["q"] == "type = explanation"
    assert desk.ada.http.post("/exports", data=wanted | {"reason": "an inquiry"}).content[:2] == b"PK"


def test_what_identifies_people_is_hidden_unless_it_is_asked_for(desk: Desk) -> None:
    """Masked where the box stays ticked; the page says how much was hidden."""
    tried = desk.ada.send(desk.ada.look("/try"), "/try", text="A dull film, says anna@example.org.")
    record_id = next(link for link in tried.links if link.startswith("/records/")).rpartition("/")[2]
    wait_until(lambda: desk.ada.look(f"/records/{record_id}").status == 200)
    page = desk.ada.look(f"/records/{record_id}")
    assert page.form("/open").fields["masked"] == "yes"
    opened = desk.ada.send(page, "/open", reason="a look")
    assert "anna@" not in opened.source
    assert "piece" in opened.text
    assert "anna" in desk.ada.send(page, "/open", reason="a look", masked="").text


def test_models_show_how_often_their_flags_were_wrong(desk: Desk) -> None:
    """With promise, counts and intervals; every answer of the demonstration is checked again."""
    wait_until(lambda: ", between" in desk.ada.look("/models/demo").text)
    page = desk.ada.look("/models/demo")
    assert "Calibration sst2-test" in page.text
    assert "✓ passed" in page.text
    assert "demo" in desk.ada.look("/models").text
    assert desk.ada.look("/models/nothing").status == 404


def test_models_show_how_their_answers_went(desk: Desk) -> None:
    """In words, in pictures and in a table, by day, week or month, and of the weights that are served now."""
    page = desk.ada.look("/models/demo")
    with desk.made.ask("ada") as client:
        found = client.trends("demo")
    (today,) = [each for each in found.periods if each.answers]
    assert f"{today.answers} answers, {today.explanations} of them explained" in page.text
    assert f"{today.start}: {today.explanations} explained" in page.text
    assert f"{today.flags[Flag.FAITHFUL]} of {today.explanations} faithful" in page.text
    assert "url(#pattern-UNFAITHFUL)" in page.source
    for asked in ("over=weeks", "over=months&weights=served", "over=nothing&weights=nothing"):
        assert f"{today.answers} answers" in desk.ada.look(f"/models/demo?{asked}").text


def test_a_text_is_tried(desk: Desk) -> None:
    """A checked picture comes out, and leaves no record if that is not wanted."""
    page = desk.ada.look("/try")
    tried = desk.ada.send(page, "/try", text="A wonderful film.", record="no")
    assert "Map shown" in tried.text
    assert "Its record" not in tried.text
    refused = desk.ada.send(page, "/try", text=" ")
    assert refused.status == 400
    assert "text" in refused.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_and_never_obeyed(desk: Desk, text: str) -> None:
    """In a text, a rationale, a filter, a name: our tags alone, and no character that hides or reorders."""
    tried = desk.ada.send(desk.ada.look("/try"), "/try", text=text)
    assert tried.status == 200
    record_id = next(link for link in tried.links if link.startswith("/records/")).rpartition("/")[2]
    wait_until(lambda: desk.ada.look(f"/records/{record_id}").status == 200)
    page = desk.ada.look(f"/records/{record_id}")
    assert desk.ada.send(page, "/open", reason=text).status == 200
    shown = desk.ada.send(page, "/review/open", rationale=text)
    assert shown.status == 200
    assert "49" not in shown.text.partition("open by ada")[2].partition("Work it out")[0]
    for address in ("/reviews", "/events", f"/records/{record_id}"):
        assert desk.ada.look(address).status == 200
    reply = desk.ada.http.get("/records", params={"q": text})
    assert reply.status_code == 400
    assert Page(reply.text, 400, "/records").forms


def test_the_log_holds_and_grows(desk: Desk) -> None:
    """Held against what was seen before, and verified column by column, with a checkpoint that was kept."""
    first = desk.ada.look("/log")
    assert "is signed" in first.text
    desk.ada.send(desk.ada.look("/try"), "/try", text="One more.")
    wait_until(lambda: "begins with what this console saw before" in desk.ada.look("/log").text)
    with desk.made.ask("ada") as client:
        note = client.checkpoint().note
    verified = desk.ada.send(desk.ada.look("/log"), "/log", checkpoint=note)
    assert "Everything holds" in verified.text
    assert "DOES NOT HOLD" not in verified.text


def test_whoever_may_not_read_records_sees_what_lists_show(desk: Desk) -> None:
    """An officer without other roles: verdict and proof, no envelope, no forms of others, and no page that fails."""
    otto = Somebody(desk.app, desk.made.tokens["otto"])
    record_id = desk.newest("flag = unfaithful")
    proved(desk, record_id)
    page = otto.look(f"/records/{record_id}")
    assert "Do not rely on this map" in page.text
    assert "the record's entry is in the log" in page.text
    assert "Reproducibility" not in page.text
    assert [form.action for form in page.forms] == ["/sign-out"]
    pages = [path for method, path, _ in ROUTES if method == "GET" and "{" not in path]
    assert {otto.look(path).status for path in pages if path != "/records.csv"} == {200}
    assert otto.http.get(f"/records/{record_id}/files/envelope").status_code == 403
    assert otto.look("/holds").offers("/erase")


def test_an_approver_reads_what_they_are_asked_to_agree_with(desk: Desk) -> None:
    """The envelope and what it says, and no form to open what is sealed."""
    carla = Somebody(desk.app, desk.made.tokens["carla"])
    record_id = desk.newest("flag = unfaithful")
    proved(desk, record_id)
    page = carla.look(f"/records/{record_id}")
    assert "Reproducibility" in page.text
    assert "this record is what was logged, to the last byte" in page.text
    assert "To open what is sealed takes the role auditor or reviewer." in page.text
    assert not page.offers("/open")
    assert carla.http.get(f"/records/{record_id}/files/envelope").status_code == 200


def test_signing_out_ends_the_session(desk: Desk) -> None:
    """Also for whoever has kept the cookie."""
    person = Somebody(desk.app, desk.made.tokens["ben"])
    kept = dict(person.http.cookies)
    page = person.look("/records")
    assert "Sign in" in person.send(page, "/sign-out").text
    again = TestClient(desk.app, base_url=BASE, cookies=kept, follow_redirects=False)
    assert again.get("/records").status_code == 303


def test_one_flipped_word_is_named_by_page_and_verification(desk: Desk) -> None:
    """In the database, behind the service's back: the record's page says so, and so does the log's."""
    record_id = desk.newest('subject = "customer 1"')
    proved(desk, record_id)
    with closing(sqlite3.connect(desk.directory / "log.db")) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        (envelope,) = database.execute("SELECT envelope FROM record WHERE record_id = ?", (record_id,)).fetchone()
        altered = bytes(envelope).replace(b'"usable_for_notice":false', b'"usable_for_notice":true ')
        assert altered != bytes(envelope)
        database.execute("UPDATE record SET envelope = ? WHERE record_id = ?", (altered, record_id))
        database.commit()
    page = desk.ada.look(f"/records/{record_id}")
    assert "DOES NOT HOLD: this is not what was logged" in page.text
    verified = desk.ada.send(desk.ada.look("/log"), "/log")
    assert "DO NOT HOLD" in verified.text
    assert record_id in verified.text


def test_a_service_that_is_gone_is_told_as_such(desk: Desk) -> None:
    """The console stays up, and blames nobody in front of it. The last test of this file: it ends the service."""
    desk.made.server.process.kill()
    page = desk.ada.look("/records")
    assert page.status == 503
    assert "The service cannot answer now" in page.text
    stranger = Somebody(desk.app)
    assert stranger.send(stranger.look("/sign-in"), "/sign-in", token="some-token").status == 503  # noqa: S106 - none


def test_a_failure_of_the_console_itself_tells_nothing_of_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, with the headers of every page; what was wrong is in the console's own log."""

    def fail(_: object) -> None:
        message = "the secret of the text"
        raise RuntimeError(message)

    monkeypatch.setattr("rollcall.console.visiting.explained", fail)
    reply = TestClient(desk.app, base_url=BASE, cookies=dict(desk.ada.http.cookies), raise_server_exceptions=False).get(
        "/records"
    )
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert "This failed" in reply.text
    assert reply.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
