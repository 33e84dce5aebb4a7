"""A headless Chromium that tests drive by its DevTools protocol over a pipe: no driver and no port is needed."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needed = pytest.mark.skipif(not CHROMIUM, reason="no chromium is installed")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)

KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Backspace": (8, "")}
"""(code, what it types) of the keys that are no characters."""

DRAWN = """
    const done = () => new Promise((wake) => requestAnimationFrame(() => setTimeout(wake, 0)));
    document.readyState === "complete" ? done() : new Promise((wake) => addEventListener("load", () => wake(done())))
"""


class Page:
    """A tab."""

    def __init__(self, writing: int, reading: int):
        self.writing = os.fdopen(writing, "wb", buffering=0)
        self.reading = os.fdopen(reading, "rb")
        self.calls = 0
        self.session = ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and wait for what it returns."""
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.writing.write(json.dumps(message).encode() + b"\0")
        while True:
            told = json.loads(self._next())
            if told.get("id") == self.calls:
                assert "error" not in told, (method, told)
                return told["result"]

    def _next(self) -> bytes:
        parts = []
        while (byte := self.reading.read(1)) != b"\0":
            assert byte, "the browser has gone"
            parts.append(byte)
        return b"".join(parts)

    def open(self, file: Path, *, width: int, height: int = 900) -> None:
        """Show a file in a window of that size, until it is drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        told = self.ask("Page.navigate", url=file.resolve().as_uri())
        assert "errorText" not in told, told
        self.value(DRAWN)

    def value(self, script: str) -> Any:
        """The value of an expression in the page, awaited."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        told = self.ask("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, as a hand does."""
        code, text = KEYS.get(key) or (ord(key.upper()), key)
        asked = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **asked)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **asked)

    def picture(self, *, whole: bool = False) -> bytes:
        """What is to be seen, or the page in its whole length, as a PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"])


@contextmanager
def page() -> Iterator[Page]:
    """A tab of a new browser, which ends with the block."""
    # the browser reads from its third file and writes to its fourth
    here, there = os.pipe(), os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (here[0], there[1])]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = ["bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "browser", CHROMIUM, *FLAGS]
        browser = subprocess.Popen(
            [*words, f"--user-data-dir={profile}"], pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for end in (*ends, here[0], there[1]):
            os.close(end)
        try:
            yield Page(here[1], there[0])
        finally:
            browser.terminate()
            browser.wait(timeout=60)
