"""Whatever lies in a run directory: a clear error or an `unknown` with a note, never a traceback, never its code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hrm_sweep.cli.app import app
from hrm_sweep.errors import HrmSweepError

FIXTURES = Path(__file__).parent.parent / "fixtures"
OURS = FIXTURES / "runs" / "healthy"
REFERENCE = FIXTURES / "official_runs" / "healthy"
SUDOKU = FIXTURES / "sudoku-4x4"


def diagnose(*arguments: object) -> tuple[int, str]:
    """(exit code, what is printed) of `hrm-sweep diagnose`. Raises what would be a traceback."""
    result = CliRunner().invoke(app, ["diagnose", *map(str, arguments)], env={"COLUMNS": "400"})
    if isinstance(result.exception, HrmSweepError):  # hrm_sweep.cli.main prints it
        return 2, f"error: {result.exception}"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


Break = Callable[[Path], Any]


def text(name: str, content: str) -> Break:
    return lambda run: (run / name).write_text(content)


def merged(name: str, **values: Any) -> Break:
    return lambda run: (run / name).write_text(json.dumps(json.loads((run / name).read_text()) | values))


def appended(name: str, content: str) -> Break:
    return lambda run: (run / name).write_text((run / name).read_text() + content)


def folder_instead(name: str) -> Break:
    def apply(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return apply


def loop_instead(name: str) -> Break:
    def apply(run: Path) -> None:
        (run / name).unlink()
        (run / name).symlink_to(name)

    return apply


def rows(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Break:
    def apply(run: Path) -> None:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        (run / "metrics.jsonl").write_text("".join(json.dumps(change(json.loads(line))) + "\n" for line in lines))

    return apply


def all_nan(row: dict[str, Any]) -> dict[str, Any]:
    stamp = ("kind", "step", "epoch", "time_s", "act_histogram")
    return {
        name: value if name in stamp else dict.fromkeys(value, "NaN") if isinstance(value, dict) else "NaN"
        for name, value in row.items()
    }


OUR_RUNS: dict[str, tuple[Break, int, str]] = {
    "status of a newer version": (
        merged("status.json", version=2),
        0,
        "status.json: written by a newer hrm-sweep (version 2, this one reads 1); update hrm-sweep",
    ),
    "environment of a newer version": (
        merged("environment.json", version=3),
        0,
        "environment.json: written by a newer hrm-sweep (version 3, this one reads 1); update hrm-sweep",
    ),
    "environment with a new key": (merged("environment.json", gravity=9.81), 0, "update hrm-sweep"),
    "a state that does not exist yet": (merged("status.json", state="dreaming"), 0, "update hrm-sweep"),
    "a config key that does not exist yet": (
        appended("config.yaml", "flux_capacitor: 1.21\n"),
        0,
        "flux_capacitor: unknown key; if a newer hrm-sweep wrote it, update hrm-sweep",
    ),
    "config that is no YAML": (text("config.yaml", "lr: [1e-3"), 0, "not valid YAML"),
    "config of binary": (lambda run: (run / "config.yaml").write_bytes(b"\xff\x00\x9d"), 0, "not valid YAML"),
    "status that is torn": (text("status.json", '{"state": "runn'), 0, "status.json: damaged: not a JSON object"),
    "status that is a list": (text("status.json", "[]"), 0, "status.json: damaged: not a JSON object"),
    "status with words for times": (merged("status.json", updated_at="yesterday"), 0, "status.json: not understood"),
    "status with words for steps": (merged("status.json", step="all"), 0, "status.json: not understood"),
    "status with words for the plan": (merged("status.json", total_steps="many"), 0, "status.json: not understood"),
    "status with a strange process": (
        merged("status.json", owner={"host": "here", "pid": "self", "started": "1"}),
        0,
        "status.json: not understood",
    ),
    "environment with words for numbers": (
        merged("environment.json", attention_error="good"),
        0,
        "environment.json: not understood",
    ),
    "a folder for metrics": (folder_instead("metrics.jsonl"), 0, "Cannot tell"),
    "a folder for the config": (folder_instead("config.yaml"), 0, "config.yaml: there is no such file"),
    "a folder for the status": (folder_instead("status.json"), 0, "status.json: cannot be read: Is a directory"),
    "metrics that link to themselves": (loop_instead("metrics.jsonl"), 0, "Cannot tell"),
    "a config that links to itself": (loop_instead("config.yaml"), 0, "config.yaml: there is no such file"),
    "empty metrics": (text("metrics.jsonl", ""), 0, "Cannot tell"),
    "binary metrics": (lambda run: (run / "metrics.jsonl").write_bytes(bytes(range(256)) * 9), 0, "no metric rows"),
    "metrics nested without end": (appended("metrics.jsonl", "[" * 100_000 + "\n"), 0, "1 line(s) are no metric rows"),
    "rows that end in each other's lines": (
        appended("metrics.jsonl", "[1\n2]\n{}\n"),
        0,
        "3 line(s) are no metric rows",
    ),
    "NaN everywhere": (rows(all_nan), 1, "non_finite"),
    "negative steps": (rows(lambda row: row | {"step": -row["step"]}), 0, "97 line(s) are no metric rows"),
    "one step for all rows": (rows(lambda row: row | {"step": 936}), 0, "Healthy"),
    "endless steps": (rows(lambda row: row | {"step": 10**400}), 0, "97 line(s) are no metric rows"),
    "words for numbers": (rows(lambda row: row | {"lm_loss": "low"}), 0, "97 line(s) are no metric rows"),
    "a number for a group": (rows(lambda row: row | {"grad_norm": 1.0}), 0, "Healthy"),
    "a data path that is too long": (appended("config.yaml", f"data_path: {'x' * 5000}\n"), 0, "cannot be read"),
}


@pytest.mark.parametrize("name", OUR_RUNS)
def test_a_damaged_run_of_ours_is_judged_by_what_is_left_and_the_rest_is_mentioned(name: str, tmp_path: Path) -> None:
    break_it, exit_code, expected = OUR_RUNS[name]
    run = shutil.copytree(OURS, tmp_path / "run")
    break_it(run)
    found, said = diagnose(run)
    assert expected in said
    assert found == exit_code


class TouchesAFile:
    """What a checkpoint could hide: loading it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    run = shutil.copytree(REFERENCE, tmp_path / "run")
    trap = tmp_path / "it ran"
    (run / "step_936").write_bytes(pickle.dumps({"model.inner.H_init": TouchesAFile(trap)}, protocol))
    exit_code, said = diagnose(run)
    assert not trap.exists()
    assert exit_code == 0
    assert "step_936: refused" in said
    pickle.loads((run / "step_936").read_bytes())  # the trap works
    assert trap.exists()


CHECKPOINTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda whole: whole[: len(whole) // 2], "damaged, incomplete or not a checkpoint ("),
    "empty": (lambda whole: b"", "step_936: damaged, incomplete or not a checkpoint (0 bytes); copy or write it again"),
    "text": (lambda whole: b"not found", "step_936: "),
    "a picture": (lambda whole: b"\x89PNG\r\n\x1a\n" + bytes(500), "step_936: "),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_damaged_checkpoint_is_mentioned_and_the_others_are_judged(name: str, tmp_path: Path) -> None:
    damage, expected = CHECKPOINTS[name]
    run = shutil.copytree(REFERENCE, tmp_path / "run")
    (run / "step_936").write_bytes(damage((run / "step_936").read_bytes()))
    exit_code, said = diagnose(run)
    assert exit_code == 0
    assert expected in said
    assert "Cannot tell" in said or "Healthy" in said


def foreign(path: Path) -> Path:
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"\x00" * 64)
    (path / "README.md").write_text("# Not a run")
    return path


def linked_to_itself(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


NO_RUNS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an empty folder": (lambda path: path.mkdir() or path, "not a run directory"),  # type: ignore[func-returns-value]
    "a foreign folder": (foreign, "not a run directory"),
    "a link to itself": (linked_to_itself, "there is no such folder"),
}


@pytest.mark.parametrize("name", NO_RUNS)
def test_what_is_no_run_exits_with_2_and_says_what_was_expected(name: str, tmp_path: Path) -> None:
    make, expected = NO_RUNS[name]
    exit_code, said = diagnose(make(tmp_path / "run"))
    assert exit_code == 2
    assert expected in said


@pytest.mark.parametrize("damaged", ["train/dataset.json", "train/all__inputs.npy", "test/all__labels.npy"])
def test_a_broken_data_folder_that_was_named_exits_with_2(damaged: str, tmp_path: Path) -> None:
    data = shutil.copytree(SUDOKU, tmp_path / "data")
    (data / damaged).write_bytes((data / damaged).read_bytes()[:60])
    exit_code, said = diagnose(shutil.copytree(OURS, tmp_path / "run"), "--data", data)
    assert exit_code == 2
    assert damaged.rpartition("/")[2] in said


def test_a_broken_data_folder_that_the_config_names_makes_rules_unknown(tmp_path: Path) -> None:
    data = shutil.copytree(SUDOKU, tmp_path / "data")
    (data / "train" / "dataset.json").write_text("{")
    run = shutil.copytree(OURS, tmp_path / "run")
    with (run / "config.yaml").open("a") as config:
        config.write(f"data_path: {data}\n")
    exit_code, said = diagnose(run)
    assert exit_code == 0
    assert "dataset.json: not valid JSON" in said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that another user may enter, as pytest's are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user for whom permissions hold: they do not for root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("closed", "exit_code", "expected"),
    [
        ("metrics.jsonl", 0, "metrics.jsonl: cannot be read: Permission denied"),
        ("config.yaml", 0, "config.yaml: cannot be read: Permission denied"),
        ("status.json", 0, "status.json: cannot be read: Permission denied"),
        (".", 2, "cannot be read: Permission denied"),
    ],
)
def test_what_may_not_be_read_is_named(open_folder: Path, closed: str, exit_code: int, expected: str) -> None:
    run = shutil.copytree(OURS, open_folder / "run")
    diagnose(run)  # what is imported late may not be readable afterwards
    mode = (run / closed).stat().st_mode
    (run / closed).chmod(0)
    try:
        with as_nobody():
            found, said = diagnose(run)
    finally:
        (run / closed).chmod(mode)
    assert expected in said
    assert found == exit_code


# Anything at all --------------------------------------------------------------------------------------------------

FILES = {
    OURS: ["config.yaml", "environment.json", "metrics.jsonl", "status.json"],
    REFERENCE: ["all_config.yaml", "step_312", "step_624", "step_936"],
}


@st.composite
def damages(draw: st.DrawFn, run: Path) -> list[tuple[str, ...]]:
    files = st.sampled_from(FILES[run])
    one = st.one_of(
        st.tuples(st.just("delete"), files),
        st.tuples(st.just("truncate"), files, st.floats(0, 1)),
        st.tuples(st.just("replace"), files, st.floats(0, 1), st.binary(min_size=1, max_size=8)),
        st.tuples(
            st.just("digits"), files, st.floats(0, 1), st.sampled_from(["9", "-", "e9", "0.", "null", "NaN", '"'])
        ),
        st.tuples(st.just("swap"), files, files),
        st.tuples(st.just("folder"), files),
    )
    return draw(st.lists(one, min_size=1, max_size=4))


def damage(run: Path, what: str, name: str, *arguments: Any) -> None:
    file = run / name
    if not file.is_file():
        return
    content = file.read_bytes()
    if what in ("delete", "folder"):
        file.unlink()
        if what == "folder":
            file.mkdir()
    elif what == "truncate":
        file.write_bytes(content[: int(arguments[0] * len(content))])
    elif what in ("replace", "digits"):
        at = int(arguments[0] * len(content))
        new = arguments[1] if what == "replace" else arguments[1].encode()
        file.write_bytes(content[:at] + new + content[at + (len(new) if what == "replace" else 0) :])
    elif (run / arguments[0]).is_file():
        other = run / arguments[0]
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)


@pytest.mark.parametrize("source", FILES, ids=["ours", "reference"])
@settings(max_examples=40)
@given(data=st.data())
def test_no_damage_makes_it_crash(source: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        run = shutil.copytree(source, Path(name) / "run")
        for step in data.draw(damages(source)):
            damage(run, *step)
        with_data = ["--data", SUDOKU] if source is OURS and data.draw(st.booleans()) else []
        exit_code, said = diagnose(run, *with_data)
        assert exit_code in (0, 1, 2)
        assert said.strip()
        assert "Traceback" not in said
        as_json = diagnose(run, "--json", *with_data)
        assert as_json[0] == exit_code
        assert exit_code == 2 or json.loads(as_json[1])["findings"]


METRICS = (
    "exact_accuracy",
    "accuracy",
    "lm_loss",
    "q_halt_loss",
    "q_continue_loss",
    "act_steps",
    "count",
    "lr",
    "time_s",
)
NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.sampled_from(["NaN", "Infinity", "-Infinity"]))


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(METRICS), NUMBERS, min_size=1),
    st.integers(0, 96),
    st.integers(1, 97),
    st.sampled_from([[], ["--data", SUDOKU]]),
)
def test_no_number_makes_it_crash(values: dict[str, Any], first: int, n: int, data: list[object]) -> None:
    """A value as a program gone wrong might write it, in some rows or in all."""
    with tempfile.TemporaryDirectory() as name:
        run = shutil.copytree(OURS, Path(name) / "run")
        lines = (run / "metrics.jsonl").read_text().splitlines()
        lines[first : first + n] = [json.dumps(json.loads(line) | values) for line in lines[first : first + n]]
        (run / "metrics.jsonl").write_text("\n".join(lines))
        exit_code, _ = diagnose(run, *data)
        assert exit_code in (0, 1)
