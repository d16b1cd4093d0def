"""A picture of the page that ``fewshot serve`` shows of the demo's detector, where a browser is at hand."""

import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fewshot.core.files import atomic_write
from fewshot.core.outputs import PNG

_WIDTH, _HEIGHT = 1280, 900
_PATIENCE_SECONDS = 60
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DONE = "return !!document.querySelector('.card') && !document.querySelector('.card.waiting')"


def page_picture(detector: Path, image: Path, target: Path) -> str:
    """Have an image judged on the page of a detector, and write a picture of the page.

    Args:
        detector: the file; image: what is judged; target: the PNG to write.

    Returns:
        Why there is no picture, in words; empty where there is one.

    Raises:
        OutputError: the picture cannot be written.
    """
    browser, driver = next(filter(None, map(shutil.which, _BROWSERS)), None), shutil.which("chromedriver")
    if browser is None or driver is None:
        return "no chromium with chromedriver is installed"
    try:
        from selenium.common.exceptions import WebDriverException
    except ImportError:
        return "the package selenium is not installed"
    try:
        with _served(detector) as address:
            shown = _screenshot(address, image.absolute(), browser, driver)
    except (WebDriverException, OSError, ValueError) as error:
        return f"the page could not be shown ({type(error).__name__})"
    marked = PngInfo()
    marked.add_text("Software", "fewshot")
    with atomic_write(target, kind=PNG) as stream, Image.open(io.BytesIO(shown)) as picture:
        picture.convert("RGB").save(stream, "PNG", optimize=True, pnginfo=marked)
    return ""


@contextmanager
def _served(detector: Path) -> Iterator[str]:
    """Serve a detector in a process of its own, and give the address.

    Raises:
        ValueError: it says no address, for example because the packages that serve are not installed.
    """
    command = [sys.executable, "-m", "fewshot", "serve", str(detector), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield str(json.loads(server.stdout.readline())["url"])
        finally:
            server.send_signal(signal.SIGTERM)
            server.stdout.read()


def _screenshot(address: str, image: Path, browser: str, driver: str) -> bytes:
    """Return the page with the verdict of an image, as PNG."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    with tempfile.TemporaryDirectory(prefix="fewshot-", ignore_cleanup_errors=True) as profile:
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
            options.add_argument(argument)
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            chrome.set_window_size(_WIDTH, _HEIGHT)
            chrome.get(address)
            chrome.find_element("css selector", "#choose").send_keys(str(image))
            WebDriverWait(chrome, _PATIENCE_SECONDS).until(lambda _: chrome.execute_script(_DONE))
            height = int(chrome.execute_script("return document.documentElement.scrollHeight"))
            metrics = {"width": _WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
            chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            return bytes(chrome.get_screenshot_as_png())
        finally:
            chrome.quit()
