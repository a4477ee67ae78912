"""The commands as a person runs them: files, JSON, exit codes, one-line errors; README; reproduce with fakes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.train import shortcuts
from ecp.errors import DeviceError, EcpError, UsageError
from reports import measured, readme, reproduce, summary
from reports.cli import main
from tests.reports import synthetic


def test_audit_prints_markdown_and_json(capsys, tmp_path):
    assert main(["audit"]) == 0
    assert "| Claim | Place |" in capsys.readouterr().out
    assert main(["audit", "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 44
    assert main(["audit", "--out", str(tmp_path)]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"audit.md", "audit.csv", "audit.json"}


def test_tables_write_three_formats(records, tmp_path, capsys):
    arguments = [
        "tables",
        "--records",
        str(records),
        "--device",
        "local",
        "--out",
        str(tmp_path),
        "--json",
        "-",
    ]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert any(r["published_id"] == "t7.vit_tiny.mnn" and r["measured"] for r in rows)
    assert {"t7-local-fp32.md", "t7-local-fp32.tex", "t7-local-fp32.csv", "t2.md"} <= {
        p.name for p in tmp_path.iterdir()
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tables", "--device", "oneplus1"], "did you mean oneplus11"),
        (["tables", "--records", "/nowhere"], "there is no such folder"),
        (["tabels"], "No such command"),
        (["reproduce", "--device", "locl"], "did you mean local"),
        (["reproduce", "--steps", "latncy", "--dry-run"], "did you mean latency"),
        (["readme", "--file", "/nowhere.md"], "there is no such file"),
        (["audit", "--out", "/proc/nope"], "choose a writable place"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, says, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "Traceback" not in error


def test_help_shows_an_example_of_every_command(capsys):
    for name in ("audit", "tables", "figures", "site", "report", "readme", "reproduce"):
        assert main([name, "--help"]) == 0
        assert f"python -m reports {name}" in capsys.readouterr().out


def test_report_builds_everything_from_records_alone(records, tmp_path):
    """In a process that cannot import any framework: neither a device nor a model is needed."""
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'timm', 'onnxruntime', 'openvino'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from reports.cli import main\n"
        f"sys.exit(main(['report', '--records', {str(records)!r}, '--out', {str(tmp_path / 'r')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("audit/audit.md", "tables/t7-local-fp32.tex", "site/index.html", "summary.md"):
        assert (tmp_path / "r" / name).is_file()


def test_summary_names_what_differs_and_what_is_missing(store):
    text = summary.markdown(store)
    assert "## Differs" in text and re.search(r"ECP-VIT-small: Ours \(ms\) 31\.1 -\\> \d", text)
    assert len(text.splitlines()) < 100, "one page"
    assert "unavailable: TNN is not installed" in text
    assert "no run yet: `nox -s" in text
    assert (
        sum(int(n) for n in re.findall(r"^## .*\((\d+)\)", text, re.M)) == 123
    )  # 128 table cells, 5 of them settings


def test_readme_is_generated_and_checked(store, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# x\n{readme.BEGIN}\nstale text\n{readme.END}\ntail\n")
    with pytest.raises(EcpError, match="not current"):
        readme.check(path, store)
    assert readme.write(path, store)
    readme.check(path, store)
    text = path.read_text()
    assert text.startswith("# x\n") and text.endswith("\ntail\n") and "stale text" not in text
    assert "| local, fp32 | vit_tiny | 8." in text
    path.write_text(text.replace("8.", "7.", 1))
    with pytest.raises(EcpError, match="not current"):
        readme.check(path, store)
    path.write_text("no markers")
    with pytest.raises(EcpError, match="markers"):
        readme.write(path, store)


def test_the_readme_of_this_checkout_is_current():
    """Red after new records were committed: `python -m reports readme` brings the tables up to date."""
    readme.check(Path(__file__).parents[2] / "README.md", measured.load())


class Harness:
    """Stands for ``python -m bench``: writes a run and answers with the exit codes it was given."""

    def __init__(self, *codes):
        self.codes = list(codes)
        self.calls = []

    def __call__(self, arguments):
        self.calls.append(arguments)
        out = arguments[arguments.index("--out") + 1]
        folder = Path(out) / f"2026010{len(self.calls)}T000000Z-x"
        synthetic.write_run(folder, synthetic.other_records("r"), "memory", "20260101")
        return self.codes.pop(0) if self.codes else 0


HAVE = {"latency": "bench.latency", "memory": "bench.memory"}


def asked(tmp_path, **more):
    return reproduce.Asked(out=tmp_path / "r", steps="latency,memory", **more)


def test_reproduce_runs_the_steps_and_ends_with_site_and_summary(tmp_path, capsys):
    harness = Harness()
    assert reproduce.run(asked(tmp_path), call=harness, have=lambda: HAVE) == 0
    assert [c[0] for c in harness.calls] == ["latency", "memory"]
    assert (
        "vit_tiny,vit_small,vit_base,ecp_vit_tiny" in harness.calls[0][harness.calls[0].index("--models") + 1]
    )
    said = capsys.readouterr().err
    assert said.index("in all about") < said.index("== latency")
    assert (tmp_path / "r" / "report" / "site" / "index.html").is_file()
    text = (tmp_path / "r" / "summary.md").read_text()
    assert "- latency: done in" in text and "(estimated" in text
    assert reproduce.run(asked(tmp_path), call=harness, have=lambda: HAVE) == 0
    assert len(harness.calls) == 2


def test_reproduce_goes_on_where_it_was_stopped(tmp_path):
    harness = Harness(0, 130, 0)
    with pytest.raises(EcpError, match="goes on where it stopped"):
        reproduce.run(asked(tmp_path), call=harness, have=lambda: HAVE)
    reproduce.run(asked(tmp_path), call=harness, have=lambda: HAVE)
    assert [c[0] for c in harness.calls] == ["latency", "memory", "memory"]


def test_a_killed_step_is_resumed_by_its_own_command(tmp_path):
    state = reproduce.State(asked(tmp_path))
    (step, *_) = reproduce.plan(asked(tmp_path), measured.Store([]), lambda: HAVE)
    state.note(step, reproduce.State.STARTED, 0.0)
    harness = Harness(2, 0)
    reproduce.run(asked(tmp_path), call=harness, have=lambda: HAVE)
    assert ["--resume" in c for c in harness.calls] == [True, False, False]


def test_a_failed_step_does_not_stop_the_others_and_an_absent_device_does(tmp_path):
    harness = Harness(1, 0)
    assert reproduce.run(asked(tmp_path), call=harness, have=lambda: HAVE) == 1
    assert len(harness.calls) == 2
    with pytest.raises(DeviceError, match="not reachable"):
        reproduce.run(asked(tmp_path / "other"), call=Harness(3), have=lambda: HAVE)


@pytest.mark.parametrize("quick", [False, True])
def test_every_planned_command_is_one_that_the_harness_accepts(quick):
    """Parsed by the harness's own command line, nothing is run."""
    import typer

    from bench.cli import make_app

    group = typer.main.get_command(make_app())
    asked = reproduce.Asked(quick=quick, data=Path("DIR"), dataset="tiny-imagenet")
    steps = reproduce.plan(asked, measured.Store([]))
    assert {"latency", "profile", "roofline", "ablation", "cache", "length"} <= {s.name for s in steps}
    rows = {"train-convit_base", "train-beit_base", "train-ecp_vit_base@0.9", "train-vit_base"}
    assert rows <= {s.name for s in steps}
    for step in steps:
        name, *arguments = step.arguments
        more = ["--resume"] if step.resumable else []
        context = group.commands[name].make_context(name, [*arguments, "--out", "x", *more])
        assert step.seconds > 0
        if name == "train":
            given = context.params
            shortcuts(given["model"], given["dataset"], given["data"])


def test_reproduce_trains_only_the_data_set_that_is_there():
    have = lambda: {"train": "bench.train"}  # noqa: E731
    with pytest.raises(UsageError, match="nothing to do"):
        reproduce.run(reproduce.Asked(), have=have)
    with pytest.raises(UsageError, match="--data DIR and --dataset NAME belong together"):
        reproduce.plan(reproduce.Asked(data=Path("x")), measured.Store([]), have)
    with pytest.raises(UsageError, match="unknown data set of the paper 'stl'; did you mean stl10"):
        reproduce.plan(reproduce.Asked(data=Path("x"), dataset="stl"), measured.Store([]), have)
    steps = reproduce.plan(reproduce.Asked(data=Path("x"), dataset="imagenet"), measured.Store([]), have)
    assert len(steps) == 3 + 27 and len({s.folder for s in steps}) == 30, "each row keeps its own checkpoint"
    assert "days" in reproduce.duration(sum(s.seconds for s in steps))


def test_estimates_use_records_and_skip_what_cannot_run(store):
    steps = {
        s.name: s
        for s in reproduce.plan(reproduce.Asked(models="vit_tiny", backends="tnn"), store, lambda: HAVE)
    }
    assert steps["latency"].seconds == 0
    quick = reproduce.plan(reproduce.Asked(quick=True), store, lambda: HAVE)
    full = reproduce.plan(reproduce.Asked(), store, lambda: HAVE)
    assert 0 < sum(s.seconds for s in quick) < sum(s.seconds for s in full) / 2
    assert [reproduce.duration(s) for s in (42, 420, 4800, 6000)] == ["42 s", "7 min", "80 min", "1 h 40 min"]


def test_nothing_to_do_is_said():
    with pytest.raises(UsageError, match="nothing to do"):
        reproduce.run(reproduce.Asked(), have=dict)
