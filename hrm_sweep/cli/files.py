"""Files that a verb writes because somebody asked for them."""

from __future__ import annotations

from pathlib import Path

import typer


def require_file(option: str, path: Path | None) -> None:
    """Raises UsageError when `path` can be no file; before anything is computed."""
    from hrm_sweep.errors import UsageError

    if path is not None and path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file in it")
    if path is not None and str(path) == "-":
        raise UsageError(f"{option} -: expected the name of a file, for it is replaced as a whole; name one")


def write_text(option: str, path: Path, content: str) -> None:
    """Write a file as `write_bytes` does, in UTF-8."""
    write_bytes(option, path, content.encode("utf-8", errors="replace"))


def write_bytes(option: str, path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and say so on standard error. Raises UsageError, or DiskFullError."""
    from hrm_sweep.errors import UsageError
    from hrm_sweep.runs import replaced_atomically

    require_file(option, path)
    try:
        with replaced_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written ({error.strerror}); name another file") from None
    typer.echo(f"written: {path}", err=True)
