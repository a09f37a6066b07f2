"""What docs/security.md promises."""

from __future__ import annotations

import ast
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent / "sweep"))

import optuna
import stand_in_training
from small_studies import STORAGE, small_space

from hrm_sweep.config import load_config
from hrm_sweep.errors import ConfigError, HrmSweepError, StudyError
from hrm_sweep.model.checkpoint import load_weights
from hrm_sweep.runs import Owner, read_metrics, read_status
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.dashboard import is_loopback
from hrm_sweep.sweep.environment import STORAGE_VARIABLE
from hrm_sweep.sweep.housekeeping import list_studies
from hrm_sweep.sweep.space import space_from_mapping
from hrm_sweep.sweep.storage import has_password, open_storage, quiet_optuna, shown, storage_option
from hrm_sweep.sweep.study import create_or_continue, open_study

quiet_optuna()
PACKAGE = Path(__file__).resolve().parents[1] / "hrm_sweep"
SECRET = "s3cr3t"


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """(file and line, call, name of what is called as it is written) of every call in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.name}:{node.lineno}", node, ast.unparse(node.func)


def has_keyword(call: ast.Call, name: str, value: bool) -> bool:
    return any(
        one.arg == name and isinstance(one.value, ast.Constant) and one.value.value is value for one in call.keywords
    )


def test_checkpoints_arrays_and_yaml_are_loaded_without_running_code() -> None:
    found = {"torch.load": 0, "np.load": 0, "yaml.safe_load": 0}
    for where, call, name in calls():
        found[name] = found.get(name, 0) + 1
        if name == "torch.load":
            assert has_keyword(call, "weights_only", True), where
        if name in ("np.load", "numpy.load"):
            assert has_keyword(call, "allow_pickle", False), where
        assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "pickle.load", "pickle.loads"), where
        assert name not in ("eval", "exec", "os.system", "os.popen"), where
        assert not has_keyword(call, "shell", True), where
    assert all(found[name] for name in ("torch.load", "np.load", "yaml.safe_load"))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("run-by-a-pickle",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch wonders about the second, which it never wrote
def test_a_checkpoint_that_would_run_code_is_refused(folder: Path) -> None:
    torch.save({"weights": Evil()}, "evil.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(HrmSweepError):
            load_weights(Path(name))
    assert not Path("run-by-a-pickle").exists()


def test_a_config_that_would_run_code_is_refused(folder: Path) -> None:
    Path("evil.yaml").write_text("lr: !!python/object/apply:os.mkdir [run-by-yaml]\n")
    with pytest.raises(ConfigError):
        load_config("evil.yaml")
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(Path("evil.yaml").read_text())
    assert not Path("run-by-yaml").exists()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{SECRET}@host/studies",
        f"postgresql://host/studies?user=me&password={SECRET}",
        f"postgresql://host/studies?sslpassword={SECRET}",
    ],
)
def test_a_password_is_hidden_wherever_the_url_has_it(url: str) -> None:
    assert has_password(url)
    assert SECRET not in shown(url)
    assert storage_option(url) == []  # commands that are printed leave it to the environment
    assert storage_option("postgresql://host/studies") == ["--storage", "postgresql://host/studies"]


@pytest.mark.parametrize("verb", [["run"], ["studies"], ["status", "x"], ["worker", "--study", "x"], ["dashboard"]])
def test_a_password_among_the_arguments_is_refused_with_the_way_to_give_it(folder: Path, verb: list[str]) -> None:
    command = [sys.executable, "-m", "hrm_sweep", *verb, "--storage", f"postgresql://me:{SECRET}@127.0.0.1:1/x"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert f"put the URL into the environment variable {STORAGE_VARIABLE}" in refused.stderr
    assert SECRET not in refused.stdout + refused.stderr
    assert list(folder.iterdir()) == []


def test_the_storage_of_a_running_study_is_in_no_argument_no_file_and_no_environment_of_its_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the database file stands for a password: it is that part of the URL which must not be seen."""
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    monkeypatch.setenv(STORAGE_VARIABLE, f"sqlite:///{SECRET}.db")
    monkeypatch.setenv("PYTHONPATH", str(Path(stand_in_training.__file__).parent), prepend=os.pathsep)
    study = create_or_continue(os.environ[STORAGE_VARIABLE], "small", small_space(base=base, budget={"trials": 1}))
    code = (
        "import os, time; from hrm_sweep.sweep.engines.base import WorkerPlan;"
        "from hrm_sweep.sweep.engines.local import LocalEngine; from hrm_sweep.sweep.study import open_study;"
        f"study = open_study(os.environ[{STORAGE_VARIABLE!r}], 'small');"
        f"LocalEngine(WorkerPlan(study, threads=1, training={stand_in_training.NAME!r})).start(1); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        give_up = time.monotonic() + 120
        while len(read_metrics(study.run_directory(0).metrics)) != 1:
            assert time.monotonic() < give_up, "waited in vain"
            time.sleep(0.05)
        (trial,) = study.trials()
        status = read_status(study.run_directory(0).status)
        assert status is not None
        worker, training = trial.user_attrs["owner"]["pid"], status.owner.pid
        for pid in (worker, training):
            assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert SECRET.encode() not in Path(f"/proc/{training}/environ").read_bytes()
        files = [path for path in (folder / "trials").rglob("*") if path.is_file()]
        assert len(files) > 5
        for path in files:
            assert SECRET.encode() not in path.read_bytes(), path
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()


LOOPBACK = {"127.0.0.1": True, "::1": True, "localhost": True, "0.0.0.0": False, "192.168.1.2": False, "a-host": False}


@pytest.mark.parametrize(("host", "alone"), LOOPBACK.items())
def test_only_addresses_of_this_machine_need_no_warning(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "..", "a/b", ".hidden", "runs", ""])
def test_a_study_whose_name_is_no_folder_name_is_refused(folder: Path, name: str) -> None:
    storage = open_storage(STORAGE, create=True)
    made = optuna.create_study(storage=storage, study_name=name)
    made.set_user_attr(attributes.SPACE, small_space().model_dump(mode="json"))
    with pytest.raises(StudyError, match="cannot be the name of a study"):
        open_study(STORAGE, name)
    assert list_studies(STORAGE) == []


def test_where_a_trial_runs_does_not_come_from_the_database(folder: Path) -> None:
    space = small_space(budget={"trials": 1})
    study = create_or_continue(STORAGE, "small", space)
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    one.trial.set_user_attr(attributes.RUN_DIR, "../../outside")
    one.trial.set_user_attr(attributes.CAUSE, "killed")
    study.optuna.tell(one.trial, state=optuna.trial.TrialState.FAIL)
    again = claim(open_study(STORAGE, "small"), Owner.this_process())
    assert isinstance(again, Claim)
    assert again.directory.path.as_posix() == "trials/small/0000"
    assert again.trial.user_attrs["run_dir"] == "trials/small/0000"


def test_a_space_from_elsewhere_does_not_say_where_its_trials_are_written(folder: Path) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "checkpoint_path": "/tmp/outside"}
    space = small_space(base=base, overrides={"checkpoint_path": "../outside"})
    assert space.config({"lr": 1e-3}).checkpoint_path is None
    again = space_from_mapping(space.model_dump(mode="json"), "again")
    assert again.config({"lr": 1e-3}).checkpoint_path is None
