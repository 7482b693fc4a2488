"""A headless Chromium of the tests' own, spoken to over the DevTools protocol.

scripts/test finds or unpacks one and says in ``CHROMIUM`` where it lies.
"""

import asyncio
import base64
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium") or ""
WHY_NOT = "NO REPORT WAS OPENED: it needs Chromium, which scripts/test finds or fetches"
ANNOUNCED = b"DevTools listening on "

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason=WHY_NOT)


class Tab:
    """A page in the browser, and what it did that a good page does not do."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self._session = ""
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if "error" in said:
                    answer.set_exception(AssertionError(said["error"]))
                else:
                    answer.set_result(said["result"])
            else:
                self._happened(said["method"], said["params"])

    def _happened(self, method: str, values: Any) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}:
            self.complaints.append(str(values))
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog: {values}")

    async def call(self, method: str, **values: Any) -> Any:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_json({"id": number, "method": method, "params": values, **session})
        return await self._answers[number]

    async def attach(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def open(self, address: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Load a page and wait for its load event, before which its script has run."""
        self.complaints.clear()
        self.requests.clear()
        self._loaded.clear()
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.call("Page.navigate", url=address)
        await self._loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        done = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def screenshot(self, to: Path) -> bytes:
        """Take a picture of the whole page."""
        done = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        picture = base64.b64decode(done["data"])
        to.write_bytes(picture)
        return picture


@asynccontextmanager
async def browser_tab() -> AsyncIterator[Tab]:
    settings = ["--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--remote-debugging-port=0"]
    if os.geteuid() == 0:
        settings.append("--no-sandbox")  # Chromium's own does not work as root
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        process = await asyncio.create_subprocess_exec(
            *(CHROMIUM, *settings, f"--user-data-dir={directory}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(await _address_of(process), max_msg_size=0) as socket,
            ):
                tab = Tab(socket)
                listening = asyncio.create_task(tab.listen())
                await tab.attach()
                yield tab
                await socket.close()
                await listening
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


async def _address_of(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if line.startswith(ANNOUNCED):
            return line.removeprefix(ANNOUNCED).decode().strip()
    pytest.fail("Chromium did not start")
