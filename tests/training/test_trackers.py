"""Trackers, with the real packages: what was told is read back with their own readers, and every step is told once."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.runs import MetricRow, RunDirectory, read_metrics
from hrm_sweep.runs.formats import read_history
from hrm_sweep.runs.trackers.base import values_as_logged
from hrm_sweep.sweep.space import space_from_mapping

Told = dict[tuple[str, int], list[float]]
"""Values by (name, step), as often as they were told."""

SMALL = (
    "hrm_v1_tiny", "arch.hidden_size=16", "arch.num_heads=2", "arch.H_cycles=1", "arch.L_cycles=1",
    "arch.halt_max_steps=2", "epochs=4", "eval_interval=1", "global_batch_size=64", "log_interval=5",
)  # fmt: skip


def hrm_sweep(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WANDB_MODE": "offline", **variables}
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def told_to_tensorboard(folder: Path) -> Told:
    program = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
print(json.dumps([[name, one.step, one.value] for name in events.Tags()["scalars"] for one in events.Scalars(name)]))
"""
    return gathered(json.loads(printed_by(program, str(folder / "run" / "tensorboard"))))


def told_to_mlflow(folder: Path) -> Told:
    with closing(sqlite3.connect(folder / "trials" / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        return gathered(connection.execute("SELECT key, step, value FROM metrics").fetchall())


def told_to_wandb(folder: Path) -> Told:
    files = sorted((folder / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1  # one run, a segment for each training
    program = """
import json, sys
from wandb.proto.wandb_internal_pb2 import Record
told = []
for line in sys.stdin:
    record = Record()
    record.ParseFromString(bytes.fromhex(line))
    if record.WhichOneof("record_type") == "history":
        for item in record.history.item:
            told.append(["/".join(item.nested_key) or item.key, record.history.step.num, json.loads(item.value_json)])
print(json.dumps(told))
"""
    records = "\n".join(record.hex() for file in files for record in records_in(file.read_bytes()))
    told = json.loads(printed_by(program, text=records))
    flat = [(f"{name}/{inner}", step, one) for name, step, value in told if isinstance(value, dict)
            for inner, one in value.items()]  # fmt: skip
    return gathered([*flat, *(each for each in told if not isinstance(each[2], dict) and each[0][0] != "_")])


def records_in(data: bytes) -> Iterator[bytes]:
    """The records of a log in blocks of 32 kB, each piece with checksum, length, kind (whole, first, middle, last)."""
    place, pieces = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        pieces += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield pieces
            pieces = b""


def printed_by(program: str, *arguments: str, text: str = "") -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


def gathered(told: Any) -> Told:
    found: Told = {}
    for name, step, value in told:
        found.setdefault((name, step), []).append(value)
    return found


READERS: dict[str, Callable[[Path], Told]] = {
    "tensorboard": told_to_tensorboard, "wandb": told_to_wandb, "mlflow": told_to_mlflow,
}  # fmt: skip


@pytest.mark.parametrize(
    "tracker",
    ["tensorboard", *(pytest.param(name, marks=pytest.mark.proof) for name in ("wandb", "mlflow"))],
)
def test_a_run_that_is_stopped_and_resumed_tells_each_step_once(tracker: str, folder: Path, sudoku_4x4: Path) -> None:
    pytest.importorskip(tracker, reason=f"no {tracker} here; the extra [{tracker}] has it")
    begun = hrm_sweep(
        "train", *SMALL, f"data_path={sudoku_4x4}", f"tracker={tracker}", "max_seconds=0.3", "--run-dir", "run",
        folder=folder,
    )  # fmt: skip
    assert begun.returncode == 0, begun.stderr
    directory = RunDirectory(folder / "run")
    assert "stopped at optimizer step" in directory.log.read_text()
    ended = hrm_sweep("train", "--resume", "--run-dir", "run", "max_seconds=null", folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert "tracker" not in directory.log.read_text()
    rows = read_metrics(directory.metrics)
    expected = {(name, row.step): value for row in rows for name, value in values_as_logged(row).items()}
    told = READERS[tracker](folder)
    (parameters,) = told.pop(("num_params", 0))
    assert f"{parameters:,.0f} parameters" in directory.log.read_text()
    assert {key: len(values) for key, values in told.items()} == dict.fromkeys(expected, 1)
    assert {key: values[0] for key, values in told.items()} == pytest.approx(expected, rel=1e-5)
    steps = {step for name, step in told if name == "train/lr"}
    assert {"train/lm_loss", "train/count", "all/exact_accuracy", "all/steps"} <= {name for name, _ in told}
    assert max(steps) == rows[-1].step


def test_a_tracker_that_fails_is_one_line_in_the_log(folder: Path, sudoku_4x4: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard here; the extra [tensorboard] has it")
    (folder / "run").mkdir()
    (folder / "run" / "tensorboard").write_text("in the way")
    words = ("train", *SMALL, f"data_path={sudoku_4x4}", "tracker=tensorboard", "--run-dir", "run")
    trained = hrm_sweep(*words, folder=folder)
    assert trained.returncode == 0, trained.stderr
    log = RunDirectory(folder / "run").log.read_text().splitlines()
    (said,) = [line for line in log if line.startswith("tracker tensorboard: ")]
    assert said.endswith("; nothing more is tracked, the run goes on")


HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("wandb", "mlflow", "tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def test_a_tracker_that_is_not_installed_is_said_before_anything_is_written(folder: Path, sudoku_4x4: Path) -> None:
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(HIDE)
    path = f"{folder / 'hidden'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    words = ("train", *SMALL, f"data_path={sudoku_4x4}", "tracker=wandb", "--run-dir", "run")
    refused = hrm_sweep(*words, folder=folder, PYTHONPATH=path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "error: tracker: wandb is not installed; install it with `pip install 'hrm-sweep[w"
    )
    assert not (folder / "run").exists()
    space = {
        "name": "mine", "base": "hrm_v1_tiny", "parameters": {"lr": {"values": [1e-3, 2e-3]}},
        "overrides": {"data_path": str(sudoku_4x4), "tracker": "mlflow", "epochs": 60},
    }  # fmt: skip
    (folder / "mine.yaml").write_text(json.dumps(space))
    refused = hrm_sweep("run", "mine.yaml", folder=folder, PYTHONPATH=path)
    assert refused.returncode == 2
    assert "pip install 'hrm-sweep[mlflow]'" in refused.stderr


def test_no_tracker_is_imported_unless_asked_for(folder: Path) -> None:
    program = "import sys, json, hrm_sweep.training.session; print(json.dumps(sorted(sys.modules)))"
    assert not {"wandb", "mlflow", "tensorboard"} & set(json.loads(printed_by(program)))


def test_the_tracker_is_no_part_of_what_a_study_is(folder: Path) -> None:
    content = {"name": "mine", "base": "hrm_v1_tiny", "parameters": {"lr": {"values": [1e-3, 2e-3]}}}
    plain = space_from_mapping(content, "a")
    tracked = space_from_mapping({**content, "overrides": {"tracker": "wandb"}}, "b")
    assert plain.identity() == tracked.identity()
    assert plain.config({}).tracker is None
    assert tracked.config({}).tracker == "wandb"


def test_what_is_told_is_what_diagnose_reads_of_the_reference(folder: Path) -> None:
    values = {"loss": 2.0, "lm_loss": 1.5, "accuracy": 0.5, "exact_accuracy": 0.25, "act_steps": 3.0, "count": 8.0,
              "lr": 1e-3, "q_halt_mean": -5.0}  # fmt: skip
    rows = [MetricRow("train", 10, 1.0, 1.0, values), MetricRow("eval", 10, 1.0, 2.0, {"exact_accuracy": 0.125})]
    exported = folder / "history.json"
    exported.write_text(json.dumps([{"_step": row.step, **values_as_logged(row)} for row in rows]))
    history = read_history([exported])
    assert {name: series.last for name, series in history.train.columns.items()} == {
        name: value for name, value in values.items() if name != "q_halt_mean"
    }
    assert history.evaluations.columns["exact_accuracy"].last == 0.125


def test_a_config_of_before_has_no_tracker(sudoku_4x4: Path) -> None:
    old = {key: value for key, value in load_config("hrm_v1_tiny").to_mapping().items() if key != "tracker"}
    assert RunConfig.model_validate(old).tracker is None
