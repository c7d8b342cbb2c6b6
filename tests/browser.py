"""Drives a headless Chromium by its DevTools protocol: enough to sign in, click, look and measure."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS, CALL_SECONDS, POLL_SECONDS = 60.0, 120.0, 0.05
KEYS = {"Tab": 9, "Enter": 13}
FOUND = next((path for path in map(shutil.which, NAMES) if path), None)
"""The browser of this machine, None without one."""


class Tab:
    """One tab of a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._loaded = False
        self.errors: list[str] = []
        """What the browser complained about: refused styles and scripts, failed loads."""

    async def call(self, method: str, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Call a method of the protocol; AssertionError where the browser refuses."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": asked})
        while True:
            told = await self._next()
            if told.get("id") == number:
                assert "error" not in told, told
                found: dict[str, Any] = told["result"]
                return found

    async def go(self, address: str) -> None:
        """Load a page."""
        await self._loading(lambda: self.call("Page.navigate", url=address))

    async def press(self, selector: str) -> None:
        """Click on something that leads to another page."""
        await self._loading(lambda: self.run(f"document.querySelector({json.dumps(selector)}).click(); 0"))

    async def type(self, selector: str, text: str) -> None:
        """Put text into a field."""
        await self.run(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")

    async def run(self, source: str) -> Any:  # noqa: ANN401 - JSON
        """Run a script in the page, and return what it comes to."""
        found = await self.call("Runtime.evaluate", expression=source, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def size(self, width: int) -> None:
        """Make the window so wide."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )

    async def key(self, name: str, *, loading: bool = False) -> None:
        """Press a key; wait for the page that it leads to."""

        async def press() -> None:
            code = KEYS[name]
            for kind in ("keyDown", "keyUp"):
                text = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
                await self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **text)

        await (self._loading(press) if loading else press())

    async def look(self, path: Path) -> None:
        """Leave a picture of the whole page."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(found["data"]))  # noqa: ASYNC240 - nobody else waits

    async def theme(self, name: str) -> None:
        """Prefer light or dark."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    async def _loading(self, start: Callable[[], Awaitable[object]]) -> None:
        self._loaded = False
        await start()
        while not self._loaded:
            await self._next()

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(CALL_SECONDS):
            told: dict[str, Any] = await self._socket.receive_json()
        if told.get("method") == "Page.loadEventFired":
            self._loaded = True
        if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] != "verbose":
            self.errors.append(f"{told['params']['entry']['level']}: {told['params']['entry']['text']}")
        return told


@asynccontextmanager
async def tab(profile: Path) -> AsyncIterator[Tab]:
    """Start a browser with an empty profile; end it afterwards."""
    assert FOUND is not None
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
    process = await asyncio.create_subprocess_exec(
        FOUND,
        *options,
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as http:
            async with http.put(f"http://127.0.0.1:{port}/json/new?about:blank") as reply:
                address = (await reply.json())["webSocketDebuggerUrl"]
            async with http.ws_connect(address, max_msg_size=0) as socket:
                opened = Tab(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await opened.call(f"{domain}.enable")
                yield opened
    finally:
        process.terminate()
        await process.wait()


async def _port(file: Path) -> int:
    async with asyncio.timeout(START_SECONDS):
        while not (file.exists() and file.read_text().count("\n")):  # noqa: ASYNC110, ASYNC240 - another program writes it
            await asyncio.sleep(POLL_SECONDS)
    return int(file.read_text().splitlines()[0])  # noqa: ASYNC240 - one small file
