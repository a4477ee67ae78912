"""The outside of the project: commands, sessions, documents and packaging say the same thing."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from bench.cli import COMMAND_MODULES, make_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def noxfile_commands() -> dict[str, tuple[str, str, str]]:
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "COMMANDS":
            return dict(ast.literal_eval(node.value))
    raise AssertionError("noxfile.py has no COMMANDS")


def test_every_command_has_a_session_and_an_example() -> None:
    sessions = noxfile_commands()
    problems = []
    for command in make_app().registered_commands:
        text = f"{command.callback.__doc__} {command.help or ''}"
        if command.name not in sessions:
            problems.append(f"{command.name} has no nox session")
        if f"-m bench {command.name}" not in text:
            problems.append(f"{command.name} --help has no example")
    assert not problems


def test_every_session_of_the_harness_leads_to_a_command() -> None:
    modules = {m.replace(".", "/") + ".py" for m in COMMAND_MODULES}
    for name, (package, file, _) in noxfile_commands().items():
        if package == "bench":
            assert file in modules, (
                f"session {name} would run a command that the command line does not look for"
            )


def test_ci_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = re.findall(r"^\.venv/bin/nox .*$", README, flags=re.MULTILINE)
    assert commands == [".venv/bin/nox -s tests"]
    assert commands[0] in script.read_text()
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_the_extra_all_holds_every_other_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(re.search(r"\[(.*)\]", everything).group(1).split(","))  # type: ignore[union-attr]
    assert named == set(extras) - {"all"}


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_files_that_exist(path: str) -> None:
    text = (ROOT / path).read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    quoted = re.findall(r"`((?:ecp|bench|baselines|reports|tests)/[\w/.]+\.(?:py|md|yaml))`", text)
    for name in [*links, *(q for q in quoted if "NAME" not in q)]:
        assert (ROOT / name).exists(), f"{path} names {name}"
