"""Help that comes at once.

Typer draws help with rich, and its module for that imports rich's Markdown and tracebacks as well: a third of the time
that a help page takes, for two things that no page of ours has (docs/performance.md).
"""

from __future__ import annotations

import sys
from types import ModuleType

_NEVER_DRAWN = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


def import_typers_drawing() -> None:
    """Import what Typer draws help with, and stand-ins for what it does not draw. Others get rich's own modules."""
    stand_ins = {name: ModuleType(name) for name in _NEVER_DRAWN if name not in sys.modules}
    for name, module in stand_ins.items():
        setattr(module, _NEVER_DRAWN[name], type(_NEVER_DRAWN[name], (), {}))
    sys.modules.update(stand_ins)
    try:
        import typer.rich_utils  # noqa: F401 - to have it loaded
    finally:
        for name in stand_ins:
            del sys.modules[name]
