"""The wheel works anywhere: built from a clean checkout, installed into a fresh environment, used in another folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from hrm_sweep.config import preset_names, space_names
from hrm_sweep.runs import RunDirectory, State, read_metrics, read_status

ROOT = Path(__file__).resolve().parents[1]
LIST_WHAT_IS_SHIPPED = """
import json, hrm_sweep
from hrm_sweep.config import load_config, preset_names, read_yaml_mapping, search_spaces_folder, space_names
from hrm_sweep.diagnosis.reference_bands import published_shapes, tiny_bands
from hrm_sweep.report.html import page
tiny_bands(), published_shapes(), page("its style sheet")
for name in preset_names():
    load_config(name)
for name in space_names():
    read_yaml_mapping(search_spaces_folder() / f"{name}.yaml")
print(json.dumps([hrm_sweep.__file__, str(search_spaces_folder()), preset_names(), space_names()]))
"""


@dataclass(frozen=True)
class Installed:
    """A fresh virtual environment that holds the wheel, and an empty folder to work in."""

    environment: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> str:
        command = [str(self.environment / "bin" / program), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel of a clean checkout, in an environment that borrows torch and the like from this one."""
    top = tmp_path_factory.mktemp("packaging")
    wheel = build_wheel(clean_checkout(top / "checkout"), top / "wheels")
    environment = top / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    pip("--python", str(environment / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    site_packages = next((environment / "lib").glob("python*/site-packages"))
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    folder = top / "somewhere else"
    folder.mkdir()
    return Installed(environment, folder)


def clean_checkout(target: Path) -> Path:
    """What git has, and nothing that happens to lie around."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def build_wheel(checkout: Path, target: Path) -> Path:
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(target), str(checkout))
    (wheel,) = target.glob("hrm_sweep-*.whl")
    return wheel


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_checkout_finds_what_it_ships_from_any_folder(folder: Path) -> None:
    command = [sys.executable, "-c", LIST_WHAT_IS_SHIPPED]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code, spaces_folder, presets, spaces = json.loads(answer)
    assert Path(code).parents[1] == ROOT
    assert Path(spaces_folder) == ROOT / "search_spaces"
    assert {"hrm_v1", "hrm_v1_balanced", "hrm_v1_aggressive", "hrm_v1_tiny"} <= set(presets)
    assert "quickstart" in spaces


@pytest.mark.proof
def test_the_wheel_carries_presets_search_spaces_and_what_pages_need(installed: Installed) -> None:
    code, spaces_folder, presets, spaces = json.loads(installed.run("python", "-c", LIST_WHAT_IS_SHIPPED))
    assert Path(code).is_relative_to(installed.environment)
    assert Path(spaces_folder).is_relative_to(installed.environment)
    assert presets == preset_names()
    assert spaces == space_names()


@pytest.mark.proof
def test_the_installed_program_helps_and_trains(installed: Installed) -> None:
    assert "train" in installed.run("hrm-sweep", "--help")
    run = installed.folder / "run"
    reduced = ["epochs=4", "eval_interval=2", "data.subsample_size=128", "data.test_size=32", "arch.halt_max_steps=2"]
    installed.run("hrm-sweep", "train", "hrm_v1_tiny", *reduced, "--run-dir", str(run))
    status = read_status(RunDirectory(run).status)
    assert status is not None
    assert status.state is State.COMPLETED
    rows = read_metrics(RunDirectory(run).metrics)
    assert [row.epoch for row in rows if row.kind == "eval"] == [2, 4]
    assert all(row.values["accuracy"] > 0 for row in rows if row.kind == "eval")
    assert (installed.folder / "data").is_dir()
