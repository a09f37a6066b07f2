"""Files opened in the browser of `conftest.py`: what went wrong, and what was asked of the network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    """A page, and what its console said and its network was asked for since it was opened."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened(browser: Any, address: str, *, width: int, **options: Any) -> Iterator[Seen]:
    """A page at a width in pixels, loaded. `options` are those of a context of playwright's."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    seen = Seen(context.new_page())
    seen.page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.goto(address)
    try:
        yield seen
    finally:
        context.close()
