"""A headless Chromium that tests drive over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_runs import Runs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One tab."""

    def __init__(self, address: str, downloads: Path) -> None:
        import websocket

        self._socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page and wait until it is drawn."""
        self.events.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[theme])
        self.send("Page.navigate", url=path.absolute().as_uri())
        end = time.monotonic() + 30
        while self.run("document.readyState") != "complete" or self.run("location.protocol") != "file:":
            assert time.monotonic() < end, "the page did not load"
            time.sleep(0.02)

    def run(self, code: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        found = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def key(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": " "} if key == " " and kind == "keyDown" else {}
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key, **text, **KEYS[key]
            )

    def move(self, x: float, y: float) -> None:
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path) -> bytes:
        """The whole page as PNG."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path.read_bytes()

    def print(self, path: Path) -> bytes:
        path.write_bytes(base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"]))
        return path.read_bytes()

    def complaints(self) -> list[dict[str, Any]]:
        """Errors and messages of the console, and whatever was asked of a network."""
        self.run("0")
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        asked = [
            event
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
            and not event["params"]["request"]["url"].startswith(("file:", "data:", "blob:"))
        ]
        return [event for event in self.events if event.get("method") in kinds] + asked

    def close(self) -> None:
        self._socket.close()


KEYS = {
    name: {"windowsVirtualKeyCode": code}
    for name, code in {"Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}.items()
}


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    profile = tmp_path_factory.mktemp("chromium")
    flags = ["--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--remote-debugging-port=0"]
    flags += ["--no-sandbox"] * (os.geteuid() == 0)
    process = subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    note = profile / "DevToolsActivePort"
    end = time.monotonic() + 60
    while not (note.exists() and note.read_text().count("\n")):
        assert process.poll() is None, "Chromium ended"
        assert time.monotonic() < end, "Chromium did not start"
        time.sleep(0.05)
    yield int(note.read_text().split()[0])
    process.terminate()
    process.wait(30)


@pytest.fixture
def page(chromium: int, tmp_path: Path) -> Iterator[Page]:
    import urllib.request

    request = urllib.request.Request(f"http://127.0.0.1:{chromium}/json/new?about:blank", method="PUT")
    with urllib.request.urlopen(request, timeout=60) as answer:
        tab = Page(json.load(answer)["webSocketDebuggerUrl"], tmp_path / "downloads")
    yield tab
    tab.close()


@pytest.fixture
def downloaded(tmp_path: Path, until: Callable[..., None]) -> Callable[[str], bytes]:
    """Waits for a file that the page lets one save."""

    def wait(name: str) -> bytes:
        path = tmp_path / "downloads" / name
        until(lambda: path.exists() and path.stat().st_size > 0)
        return path.read_bytes()

    return wait


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "output")
