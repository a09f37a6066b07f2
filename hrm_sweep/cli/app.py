"""The verbs of `hrm-sweep`. Nothing heavy is imported here: each verb imports what it needs when it is called."""

from __future__ import annotations

import typer

from hrm_sweep.cli.best import best, export
from hrm_sweep.cli.compare import compare
from hrm_sweep.cli.dashboard import dashboard
from hrm_sweep.cli.data import data_app
from hrm_sweep.cli.diagnose import diagnose, rules
from hrm_sweep.cli.doctor import doctor
from hrm_sweep.cli.fix import fix
from hrm_sweep.cli.operate import reap, retry, status, stop
from hrm_sweep.cli.output import Verbs, overview
from hrm_sweep.cli.plan import plan
from hrm_sweep.cli.report import report
from hrm_sweep.cli.run import run
from hrm_sweep.cli.show import show
from hrm_sweep.cli.space import space_app
from hrm_sweep.cli.studies import clean, studies
from hrm_sweep.cli.train import train
from hrm_sweep.cli.worker import worker

app = typer.Typer(
    cls=Verbs,
    name="hrm-sweep",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True)(overview)
app.command()(run)
app.command()(plan)
app.command()(train)
app.command()(diagnose)
app.command()(fix)
app.command()(dashboard)
app.command()(status)
app.command()(stop)
app.command()(retry)
app.command()(reap)
app.command()(report)
app.command()(compare)
app.command()(show)
app.command()(best)
app.command()(export)
app.command()(studies)
app.command()(clean)
app.command()(rules)
app.command()(doctor)
app.command(hidden=True)(worker)
app.add_typer(data_app)
app.add_typer(space_app)
