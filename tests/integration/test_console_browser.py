"""The console in a real browser: nothing of it is refused, everybody can read it, and it works by keyboard."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import uvicorn

from rollcall.console.app import console
from rollcall.console.commands import connecting
from rollcall.console.demo import Demonstration, demonstration
from rollcall.console.options import ConsoleOptions
from tests.browser import FOUND, Tab, tab
from tests.waiting import wait_until

CHECKS = (Path(__file__).parents[1] / "browser_checks.js").read_text()
SHOTS = os.environ.get("CONSOLE_SHOTS")
"""Where pictures of all pages go; nowhere without it."""
PAGES = ("/reviews", "/records", "/log", "/events", "/holds", "/models", "/models/demo", "/try", "/records/nothing")
WIDTHS = {"wide": 1200, "narrow": 320}
pytestmark = pytest.mark.skipif(
    FOUND is None, reason="NO BROWSER: the console's pages were not looked at; apt-get install chromium"
)


@pytest.fixture(scope="module")
def made() -> Iterator[Demonstration]:
    """Serve the demonstration."""
    with demonstration() as running:
        yield running


@pytest.fixture(scope="module")
def address(made: Demonstration) -> Iterator[str]:
    """Serve the console in a thread."""
    app = console(ConsoleOptions(target=made.server.target), connecting(made.server.target))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
async def browser(address: str, tmp_path: Path) -> AsyncIterator[Tab]:
    """Open a browser on the page that asks who it is."""
    async with tab(tmp_path) as opened:
        await opened.go(address)
        yield opened


async def sign_in(browser: Tab, made: Demonstration, who: str = "ada") -> None:
    """Sign in."""
    await browser.type("input[name=token]", made.tokens[who])
    await browser.press("main button")


async def check(browser: Tab, name: str) -> None:
    """Check a page in light and dark, wide and narrow, with everything unfolded."""
    await browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; }); 0")
    for theme in ("light", "dark"):
        await browser.theme(theme)
        for kind, width in WIDTHS.items():
            await browser.size(width)
            found = await browser.run(CHECKS)
            assert found["problems"] == [], f"{name}, {theme}, {kind}"
            assert found["measured"] > 5
            if SHOTS:
                await browser.look(Path(SHOTS) / f"{name.strip('/').replace('/', '-')}-{theme}-{kind}.png")
    await browser.theme("light")
    await browser.size(WIDTHS["wide"])


async def test_every_page_can_be_read_by_everybody(browser: Tab, made: Demonstration, address: str) -> None:
    """Contrast of every text on what is under it, labels, sizes of targets, no page wider than a small screen."""
    await check(browser, "/sign-in")
    await sign_in(browser, made)
    for path in PAGES:
        await browser.go(f"{address}{path}")
        await check(browser, path)
    assert [error for error in browser.errors if "404" not in error] == []


async def test_records_can_be_read_by_everybody(browser: Tab, made: Demonstration, address: str) -> None:
    """Also opened, with the picture; and nothing on them is refused by the policy."""
    await sign_in(browser, made)
    with made.ask("ada") as client:
        ids = {
            name: client.search(wanted, page_size=1).records[0].record_id
            for name, wanted in {
                "faithful": 'subject = "customer 3"',
                "unfaithful": "mismatch = true",
                "decision": "type = decision",
                "reviewed": "review = decided",
            }.items()
        }
    for name, record_id in ids.items():
        await browser.go(f"{address}/records/{record_id}")
        await check(browser, name)
    await browser.go(f"{address}/records/{ids['faithful']}")
    await browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; }); 0")
    await browser.type("form[action$='/open'] textarea", "A complaint.")
    await browser.press("form[action$='/open'] button")
    drawn = await browser.run("getComputedStyle(document.querySelector('mark[class]:not(.heat-0)')).backgroundColor")
    assert re.search(r"[\d.]+", drawn)
    assert drawn != "rgba(0, 0, 0, 0)"
    await check(browser, "opened")
    assert browser.errors == []


async def test_a_picture_that_may_not_be_relied_on_is_hatched(browser: Tab, made: Demonstration, address: str) -> None:
    """No word is coloured, and the text lies on hatching."""
    await sign_in(browser, made)
    with made.ask("ada") as client:
        found = next(each for each in client.records("flag = unfaithful") if each.explanation_id)
    await browser.go(f"{address}/records/{found.record_id}")
    await browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; }); 0")
    await browser.type("form[action$='/open'] textarea", "A complaint.")
    await browser.press("form[action$='/open'] button")
    hatched = "[...document.querySelectorAll('.untrusted .text')].map((each) => getComputedStyle(each).backgroundImage)"
    images = await browser.run(hatched)
    assert images
    assert all(image.startswith("repeating-linear-gradient") for image in images)
    assert await browser.run("document.querySelectorAll('.untrusted mark').length") == 0


async def test_the_console_works_by_keyboard(browser: Tab, made: Demonstration) -> None:
    """Sign in by typing and Enter; the first Tab leads to the content; what has the focus can be seen."""
    await browser.run("document.querySelector('input[name=token]').focus(); 0")
    await browser.call("Input.insertText", text=made.tokens["ada"])
    await browser.key("Enter", loading=True)
    assert await browser.run("document.querySelector('h1').textContent") == "Reviews"
    await browser.key("Tab")
    assert await browser.run("document.activeElement.textContent") == "To the content"
    seen = set()
    for _ in range(12):
        await browser.key("Tab")
        seen.add(await browser.run("document.activeElement.textContent.trim()"))
        assert await browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert {"Reviews", "Records", "Log", "Sign out"} <= seen


async def test_the_checks_find_what_they_are_for(browser: Tab) -> None:
    """A page with one of each mistake has each of them."""
    mistakes = "<h1>x</h1><p>pale</p><input><button></button><table><tr><th>x</th></tr></table><div>wide</div>"
    styles = {"p": "color:#999;background:#fff", "button": "padding:0;height:9px", "div": "width:9000px"}
    await browser.run(
        f"document.body.innerHTML = {json.dumps(mistakes)}.repeat(2); document.documentElement.lang = ''; 0"
    )
    for selector, style in styles.items():  # through the object model: the policy refuses style attributes
        await browser.run(f"document.querySelector('{selector}').style.cssText = '{style}'; 0")
    found = " ".join((await browser.run(CHECKS))["problems"])
    for problem in (
        "contrast 2.8",
        "no label",
        "no name",
        "small",
        "without scope",
        "not one h1",
        "no language",
        "wider",
    ):
        assert problem in found


async def test_no_text_runs_in_a_browser(browser: Tab, made: Demonstration, address: str) -> None:
    """What strangers wrote is text, whatever it looks like."""
    await sign_in(browser, made)
    await browser.go(f"{address}/try")
    await browser.type(
        "textarea[name=text]", "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    )
    await browser.press("main form button")
    assert "owned" not in await browser.run("document.title")
    assert await browser.run("document.querySelectorAll('img, script').length") == 0
    assert browser.errors == []
