"""`report`, `best` and `export` on a study that was really run: one trial learned, one was pruned, one failed."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reported_study import make_study

from hrm_sweep.cli import main
from hrm_sweep.config import RunConfig, load_config, parse_overrides
from hrm_sweep.config.reference import all_config
from hrm_sweep.data import open_folder
from hrm_sweep.evaluation.accuracy import Accuracy, data_shape, evaluate
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM
from hrm_sweep.runs import read_metrics
from hrm_sweep.runs.formats import Source, read_run


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a 'reported' study")
    make_study(folder)
    return folder


Call = Callable[..., tuple[int, str, str]]
Said = Callable[..., str]


@pytest.fixture
def call(studied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process, which takes a tenth of the time: (exit code, output, errors)."""
    monkeypatch.chdir(studied)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hrm-sweep", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, errors = capsys.readouterr()
        return int(ended.value.code or 0), out, errors

    return run


@pytest.fixture
def said(call: Call) -> Said:
    """What a verb prints that ends well."""

    def run(*arguments: str) -> str:
        code, out, errors = call(*arguments)
        assert code == 0, errors
        return out

    return run


def config_of(studied: Path, trial: int = 0) -> RunConfig:
    return load_config(studied / "trials" / "three" / f"{trial:04d}")


# best -----------------------------------------------------------------------------------------------------------------


def test_the_yaml_is_the_configuration_that_was_trained(studied: Path, said: Said, tmp_path: Path) -> None:
    file = tmp_path / "best.yaml"
    file.write_text(said("best", "three", "--yaml"))
    assert load_config(file) == config_of(studied)


def test_the_command_is_the_configuration_that_was_trained(studied: Path, said: Said) -> None:
    words = shlex.split(said("best", "three", "--command"))
    assert words[:2] == ["hrm-sweep", "train"]
    assert load_config(words[2], parse_overrides(words[3:])) == config_of(studied)


def test_with_the_threads_that_the_command_names_the_run_is_the_same_but_for_rounding(
    studied: Path, call: Call, tmp_path: Path
) -> None:
    _, line, note = call("best", "three", "--command")
    found = re.fullmatch(
        r"note: it was trained with \d+ threads?; (OMP_NUM_THREADS)=(\d+) before it comes closest to its numbers\n",
        note,
    )
    assert found is not None
    again = tmp_path / "again"
    command = [sys.executable, "-m", "hrm_sweep", *shlex.split(line)[1:], "--run-dir", str(again)]
    subprocess.run(command, cwd=studied, env={**os.environ, found[1]: found[2]}, check=True, capture_output=True)
    first, second = (read_metrics(run / "metrics.jsonl") for run in (studied / "trials" / "three" / "0000", again))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-3, abs=1e-5, nan_ok=True)


def test_the_line_for_the_reference_names_every_key_and_where_the_puzzles_are(studied: Path, said: Said) -> None:
    # That Hydra makes the same all_config.yaml of such a line is shown in tests/config/test_reference.py.
    words = shlex.split(said("best", "three", "--official"))
    assert words[:3] == ["python", "pretrain.py", "arch=hrm_v1"]
    given = {key.removeprefix("++"): value for key, _, value in (word.partition("=") for word in words[3:])}
    wanted = all_config(config_of(studied))
    assert given["data_path"].strip("'").replace("\\'", "'") == str(studied / wanted["data_path"])
    assert float(given["lr"]) == wanted["lr"]
    assert {key for key in wanted if key not in ("arch", *UNSAID)} <= given.keys()
    assert {f"arch.{key}" for key in wanted["arch"] if key not in ("loss", *UNSAID)} <= given.keys()


UNSAID = {
    *("seed", "project_name", "run_name", "checkpoint_path", "eval_save_outputs"),
    *("rope_theta", "rms_norm_eps"),
}
"""What the reference takes by itself."""


def test_best_says_what_its_score_rests_on(said: Said) -> None:
    text = said("best", "three")
    assert re.search(r"three: trial 0, exact_accuracy \d+\.\d% \(\d+ of 50; 95 % interval .*\) on the puzzles it", text)
    assert re.search(r"on puzzles that selection never saw: \d+\.\d% \(\d+ of 50; 95 % interval", text)
    assert "lr=0.003" in text
    assert "next: hrm-sweep confirm three  # is the best one good, or was it lucky?" in text.splitlines()


# export ---------------------------------------------------------------------------------------------------------------


def evaluated(config: RunConfig, weights: Path, data: Path) -> Accuracy:
    """All test puzzles, as the reference evaluates them."""
    split, device = open_folder(data).test, Device.choose(config)
    model = HRM(config.arch, data_shape(split), device.dtype)
    apply_weights(model, load_weights(weights), str(weights))
    return evaluate(model, split, np.arange(split.n_examples), config.arch.loss.loss_type, device)


def test_an_export_reads_back_as_a_run_of_the_reference_and_evaluates_the_same(
    studied: Path, said: Said, tmp_path: Path
) -> None:
    target = tmp_path / "deep" / "exported"
    text = said("export", "three", str(target))
    run = read_run(target)
    assert (run.source, run.problems) == (Source.REFERENCE, ())
    assert run.config is not None
    ((step, weights),) = run.weights
    assert f"evaluate.py checkpoint={weights}" in text
    assert sorted(path.name for path in target.iterdir()) == ["all_config.yaml", f"step_{step}"]
    assert [path.name for path in target.parent.iterdir()] == ["exported"]  # nothing unfinished is left
    own = config_of(studied)
    data = Path(str(run.config.data_path))
    assert data == studied / str(own.data_path)
    assert run.config.arch == own.arch
    best = studied / "trials" / "three" / "0000" / "checkpoints" / "best.pt"
    result = evaluated(run.config, weights, data)
    assert result == evaluated(own, best, data)
    assert result.count == 100


def test_an_export_has_the_names_of_the_reference(said: Said, tmp_path: Path) -> None:
    import torch

    said("export", "three", str(tmp_path / "exported"))
    (weights,) = (tmp_path / "exported").glob("step_*")
    official = Path(__file__).parents[1] / "fixtures" / "official_runs" / "healthy"
    names = [list(torch.load(path, weights_only=True)) for path in (weights, official / "step_936")]
    assert sorted(names[0]) == sorted(names[1])
    keys = [yaml.safe_load((folder / "all_config.yaml").read_text()) for folder in (weights.parent, official)]
    assert keys[0].keys() == keys[1].keys()


def test_an_export_never_touches_what_is_there(call: Call, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "notes.txt"):
        code, _, errors = call("export", "three", str(target))
        assert code == 2
        assert f"error: {target}: there is a f" in errors
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    assert call("export", "three", str(tmp_path / "empty"))[0] == 0


# report ---------------------------------------------------------------------------------------------------------------


def test_the_report_fits_80_columns_but_for_commands_and_paths(said: Said) -> None:
    text = said("report", "three")
    assert text.startswith("three: 1 complete, 1 pruned, 1 failed in ")
    titles = ["Best configuration", "What was searched", "What was pruned or failed, and why", "What it cost"]
    assert [title for title in titles if f"\n{title}\n" in text] == titles
    assert "pruned by zero_accuracy" in text
    assert "failed (nan)" in text
    long = [line for line in text.splitlines() if len(line) > 80]
    assert [line for line in long if not line.startswith("  hrm-sweep ")] == []
    assert "  # is the best one good, or was it lucky?\n  hrm-sweep confirm three\n" in text


def test_every_form_of_the_report_tells_of_the_same_study(studied: Path, said: Said, tmp_path: Path) -> None:
    files = {name: tmp_path / f"report.{name}" for name in ("html", "md", "csv", "json")}
    assert said("report", "three", *(word for name, path in files.items() for word in (f"--{name}", str(path)))) == ""
    told = json.loads(files["json"].read_text())
    assert told["counts"] == {"complete": 1, "pruned": 1, "failed": 1}
    assert [trial["state"] for trial in told["trials"]] == ["complete", "pruned", "failed"]
    assert told["best"]["trial"] == 0
    assert told["best"]["values"] == {"lr": 3e-3}
    assert told["best"]["unseen"]["n"] == told["best"]["selection"]["n"] == 50
    unseen = told["best"]["unseen"]
    assert 0 <= unseen["low"] < unseen["share"] < unseen["high"] <= 1
    assert told["trials"][0]["best"] == told["best"]["value"]
    assert {each["end"] for each in told["endings"]} >= {"failed (nan)", "pruned by zero_accuracy"}
    rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert [(row["trial"], row["state"]) for row in rows] == [("0", "complete"), ("1", "pruned"), ("2", "failed")]
    assert [float(row["lr"]) for row in rows] == [3e-3, 1e-9, 1e30]
    assert float(rows[0]["exact_accuracy"]) == told["best"]["value"]
    share = f"{told['best']['unseen']['share']:.1%}"
    for name in ("md", "html"):
        text = files[name].read_text()
        assert share in text
        assert "failed (nan)" in text
    assert config_of(studied) == load_config(yaml_of(files["md"], tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["best.yaml", *(p.name for p in files.values())])


def yaml_of(markdown: Path, folder: Path) -> Path:
    (folder / "best.yaml").write_text(markdown.read_text().partition("```yaml\n")[2].partition("```")[0])
    return folder / "best.yaml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "thre"], "thre: no study of this name; did you mean three?"),
        (["best", "thre"], "did you mean three?"),
        (["report", "three", "--html", "."], "--html .: is a folder; name a file in it"),
        (["report", "three", "--csv", "three.yaml/x.csv"], "--csv three.yaml/x.csv: cannot be written"),
        (["best", "three", "--yaml", "--command"], "exclude each other"),
        (["export", "three", "three.yaml/x"], "three.yaml/x: cannot be written"),
    ],
)
def test_bad_input_is_named(call: Call, arguments: list[str], message: str) -> None:
    code, _, errors = call(*arguments)
    assert code == 2
    assert message in errors
