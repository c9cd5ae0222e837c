"""Chromium without a window, driven over the WebDriver protocol that Debian's chromium-driver speaks."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

KEYS = {"left": "\ue012", "right": "\ue014", "escape": "\ue00c", "enter": "\ue007", "tab": "\ue004"}
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing() -> str:
    """What has to be installed, or nothing."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not found: apt-get install chromium chromium-driver" if absent else ""


class Browser:
    """One browser window.

    Args:
        width: of the window, CSS pixels.
        height: of the window, CSS pixels.
    """

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._profile = tempfile.TemporaryDirectory()
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._address = f"http://127.0.0.1:{self._port()}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        arguments += [f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"]
        options: dict[str, Any] = {"args": arguments, "perfLoggingPrefs": {"enableNetwork": True}}
        if width < 500:
            # A window is never that narrow, an emulated phone is.
            options["mobileEmulation"] = {
                "deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
            }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"
        self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": "Performance.enable", "params": {}})

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "successfully on port" in line:
                return int(line.rstrip().rstrip(".").split()[-1])
        raise RuntimeError("chromedriver did not start")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, content, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"].splitlines()[0]) from error

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until its pictures are drawn."""
        self._call("POST", f"{self._session}/url", {"url": path.resolve().as_uri() + fragment})
        self.until("return document.readyState === 'complete'")

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of a script."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script: str, *arguments: Any, seconds: float = 300) -> float:
        """Wait until a script returns something true; returns the processor time the page took, seconds."""
        before, start = self._processor_time(), time.monotonic()
        while not self.run(script, *arguments):
            if time.monotonic() - start > seconds:
                raise AssertionError(f"after {seconds} s still not: {script}")
            time.sleep(0.02)
        return self._processor_time() - before

    def _processor_time(self) -> float:
        """Of the page's process; other than a clock it does not depend on what else the machine does."""
        command = {"cmd": "Performance.getMetrics", "params": {}}
        metrics = self._call("POST", f"{self._session}/goog/cdp/execute", command)["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "ProcessTime"))

    def click(self, selector: str) -> None:
        """Click an element as a person would: it must be visible and not covered."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        self._call("POST", f"{self._session}/element/{found[_ELEMENT]}/click", {})

    def press(self, *keys: str) -> None:
        """Press and release keys one after the other."""
        strokes = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", f"{self._session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def drag(self, selector: str, start: float, end: float) -> None:
        """Press the pointer at a share of an element's width, move it to another, let go."""
        box = self.run("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)
        x, y, width, height = (box[name] for name in ("x", "y", "width", "height"))
        move = {"type": "pointerMove", "y": round(y + height / 2)}
        strokes = [
            {**move, "x": round(x + start * width)},
            {"type": "pointerDown", "button": 0},
            {**move, "x": round(x + end * width), "duration": 50},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": strokes}
        self._call("POST", f"{self._session}/actions", {"actions": [pointer]})

    def screenshot(self, target: Path) -> None:
        """What the window shows, as PNG."""
        target.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))

    def errors(self) -> list[str]:
        """What the console complained of since the last call."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call, those of the page's own content and of the browser itself aside."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith(("data:", "blob:", "chrome:"))]

    def close(self) -> None:
        """End the browser."""
        self._call("DELETE", self._session)
        self._driver.terminate()
        self._driver.wait()
        self._profile.cleanup()
