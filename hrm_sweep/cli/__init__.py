"""The command line: parse, call, render. `main` is the single place that catches our errors."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of `hrm-sweep`. Exit codes: 2 for usage and bad input, otherwise what the verb says."""
    from hrm_sweep.cli.app import app
    from hrm_sweep.errors import HrmSweepError

    try:
        app()
    except HrmSweepError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
