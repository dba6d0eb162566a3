"""A headless Chromium that opens a file, for tests of what a reader sees: what is cut, what loads,
what the keyboard reaches.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Nothing but the page: no window, and nothing that asks the network by itself.
OPTIONS = (
    "--headless --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update"
    " --disable-sync --disable-quic"
).split()
LOCAL = ("file:", "data:", "blob:", "about:", "javascript:")
SECONDS = 30  # that something may take which a script of the page starts
TABS = 200  # more than any page of a small report has places to tab to
# What a reader would call the place of the focus: its text, or what the style sheet writes there.
FOCUSED = """
  const place = document.activeElement;
  const written = getComputedStyle(place, '::after').content;
  return (place.textContent || '').trim() || written.replace(/^none$|^normal$|"/g, '').trim();
"""


def why_no_browser() -> str | None:
    """Why no browser can be started here; None if one can."""
    if shutil.which("chromedriver") and any(map(shutil.which, BROWSERS)):
        return None
    return "no browser to look at the report; on Debian: apt-get install chromium chromium-driver"


class Browser:
    """A browser that shows a page; a context, which ends it.

    Args:
        page: the file.
        width, height: of the window's inside, in pixels.
    """

    def __init__(self, page: Path, width: int, height: int) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
        root = ["--no-sandbox"] if os.geteuid() == 0 else []  # it has none for root
        for option in [*OPTIONS, *root, f"--user-data-dir={self.folder.name}"]:
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        # With the path of the driver, Selenium does not look for one on the network.
        self.driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        self.open(page)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.driver.quit()
        self.folder.cleanup()

    def open(self, page: Path) -> None:
        """Open a file, and wait for its front page."""
        self.driver.get("about:blank")
        self.outside()  # what the browser's own first page asked for
        self.driver.get(page.absolute().as_uri())
        self.wait("return document.querySelector('.prose h1') !== null")
        self.wait("return document.querySelector('#rulegraph svg, #rulegraph canvas') !== null")

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def in_frame(self, script: str) -> Any:
        """What a script returns in the one frame of the page."""
        self.driver.switch_to.frame(self.driver.find_element(By.TAG_NAME, "iframe"))
        try:
            return self.run(script)
        finally:
            self.driver.switch_to.default_content()

    def wait(self, script: str) -> None:
        """Wait until a script returns something true."""
        WebDriverWait(self.driver, SECONDS, 0.05).until(lambda _: self.run(script))

    def click(self, selector: str, number: int = 0) -> None:
        """Click on an element as a reader would; one that another covers is an error."""
        element = self.driver.find_elements(By.CSS_SELECTOR, selector)[number]
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def click_link(self, text: str) -> None:
        """Click on the first link of that text."""
        self.driver.find_element(By.LINK_TEXT, text).click()

    def scroll_to(self, selector: str) -> None:
        """Scroll as far as it goes towards an element."""
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")

    def cut(self, selector: str, vertically: bool = True) -> dict[str, float]:
        """The sides on which an element stands out of the window, with pixels; empty for one that
        is seen whole.
        """
        sides = self.run(
            f"const box = document.querySelector({selector!r}).getBoundingClientRect();"
            "return {left: -box.left, right: box.right - innerWidth, top: -box.top, bottom: "
            "box.bottom - innerHeight}"
        )
        wanted = sides if vertically else ("left", "right")
        return {side: sides[side] for side in wanted if sides[side] > 0.5}

    def covered(self, selector: str) -> str | None:
        """The element that lies over the beginning of an element, or None."""
        return self.run(
            f"const element = document.querySelector({selector!r});"
            "const box = element.getBoundingClientRect();"
            "const top = document.elementFromPoint(box.left + 3, box.top + 8);"
            "return element.contains(top) ? null : top.outerHTML.slice(0, 200)"
        )

    def wider(self) -> list[str]:
        """The page, its menu and its content, where they are wider than they are shown."""
        return self.run(
            "return [document.scrollingElement, ...document.querySelectorAll('#app > div, #app > "
            "div > *')]"
            "  .filter(place => place.scrollWidth > place.clientWidth + 1)"
            "  .map(place => `${place.tagName}.${place.className}: ${place.scrollWidth} > "
            "${place.clientWidth}`)"
        )

    def outside(self) -> list[str]:
        """The requests since the last look that left the files of this machine, or tried to."""
        lines = [json.loads(line["message"]) for line in self.driver.get_log("performance")]
        asked = [
            line["message"]["params"]["request"]["url"]
            for line in lines
            if line["message"]["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith(LOCAL)]

    def press(self, key: str) -> None:
        """Press a key."""
        ActionChains(self.driver).send_keys(key).perform()

    def enter(self) -> None:
        """Press Enter."""
        self.press(Keys.ENTER)

    def tabbed(self) -> list[str]:
        """What stands at every place that the Tab key reaches, once around the page."""
        self.run("document.activeElement.blur(); window.reached = new Set()")
        found = []
        for _ in range(TABS):
            self.press(Keys.TAB)
            known = self.run(
                "const known = reached.has(document.activeElement);"
                "reached.add(document.activeElement); return known"
            )
            if known:
                break
            found.append(self.run(FOCUSED))
        return found

    def tab_to(self, name: str) -> None:
        """Press Tab until the focus is on a place of that name."""
        for _ in range(TABS):
            self.press(Keys.TAB)
            if self.run(FOCUSED) == name:
                return
        raise AssertionError(f"{name} is not reached by the Tab key")
