"""The curves that one looks at first, of one run, as a picture."""

from __future__ import annotations

from PIL import Image

from hrm_sweep.diagnosis import Diagnosis, Verdict
from hrm_sweep.diagnosis.reference_bands import reference_for
from hrm_sweep.report.chart_kinds import KINDS
from hrm_sweep.report.png import picture
from hrm_sweep.report.quantities import home_of
from hrm_sweep.report.run_charts import chart_of
from hrm_sweep.report.svg import Chart

PANELS = ("loss", "cells", "exact", "act")


def picture_charts(diagnosis: Diagnosis) -> list[Chart]:
    """Loss, accuracies and ACT steps over optimizer steps, healthy runs behind them; in place of the last one what the
    leading finding comes from, where that is another chart."""
    leading = diagnosis.leading
    home = None if leading is None else home_of(leading)
    wanted = [*PANELS[:-1], home if home is not None and home not in PANELS else PANELS[-1]]
    fired = [finding for finding in diagnosis.findings if finding.verdict is Verdict.FIRED]
    reference = reference_for(diagnosis.evidence)
    charts = (chart_of(kind, diagnosis.evidence, reference, fired) for kind in KINDS if kind.key in wanted)
    return [chart for chart in charts if chart is not None]


def run_picture(diagnosis: Diagnosis, title: str) -> Image.Image | None:
    """The picture under a title, None where nothing was measured."""
    charts = picture_charts(diagnosis)
    return picture(title, charts) if charts else None
