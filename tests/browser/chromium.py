"""A real browser for tests: finds it or skips, and collects what goes wrong on a page."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Seen:
    """A page, and what its console said and its network was asked for since it was opened."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window. Skips, with the reason, where there is no browser or no playwright."""
    path = os.environ.get("HRM_SWEEP_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser found ({', '.join(_NAMES)}); install chromium or set HRM_SWEEP_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield launched
        finally:
            launched.close()


@contextlib.contextmanager
def opened(launched: Any, address: str, *, width: int, **options: Any) -> Iterator[Seen]:
    """A page at a width in pixels, loaded. `options` are those of a context of playwright's."""
    context = launched.new_context(viewport={"width": width, "height": 900}, **options)
    seen = Seen(context.new_page())
    seen.page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.goto(address)
    try:
        yield seen
    finally:
        context.close()
