"""A running server in, the picture of its page in the README out.

    fromzero serve export/sentiment …
    python tests/screenshot.py http://127.0.0.1:8501 这是一个很好的产品
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from test_page import CHROMIUM, OPTIONS


def screenshot(address, text):
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser:
        page = browser.new_page(locale="en-GB", viewport={"width": 720, "height": 500}, device_scale_factor=2)
        page.goto(address)
        page.get_by_role("textbox").fill(text)
        page.get_by_role("textbox").press("Control+Enter")
        page.get_by_role("table").wait_for()
        page.screenshot(path=Path(__file__).parents[1] / "app" / "page" / "screenshot.png", full_page=True)


if __name__ == "__main__":
    screenshot(*sys.argv[1:])
