"""The command line: parse, call, render. `main` is the single place that catches our errors."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of `hrm-sweep`. Exit codes: 2 for usage and bad input, otherwise what the verb says."""
    # Threads of torch wait for each other by spinning. Where another program wants the same core, GNU OpenMP's default
    # makes a small model's step twenty times slower; this makes it twice as slow, and costs nothing on a quiet machine
    # (docs/performance.md). It has to stand before torch is loaded; child processes inherit it.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    if {"-h", "--help"} & set(sys.argv):
        from hrm_sweep.cli.help import import_typers_drawing

        import_typers_drawing()
    from hrm_sweep.cli.app import app
    from hrm_sweep.errors import HrmSweepError

    try:
        app()
    except HrmSweepError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
