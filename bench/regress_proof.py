"""``python -m bench.regress_proof``: what the gate is worth on this device, measured.

1. A/A: the revision against itself: false alarms.
2. The same code with a planted slow-down (:mod:`bench.plant`): +5 % and +21 % must be found, 1 % must not be claimed.
3. The same code with a planted wrong output: the comparison must end as ``failed``.

``--disturb 0.5`` does it beside a process that uses half of a processor in random bursts; the table has a line with
and a line without. One line per comparison goes to ``campaign.jsonl`` as it ends; the same command continues an
interrupted campaign, and the same folder takes both kinds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench import regress_proof_table
from bench.compare_judge import CellVerdict, difference_of, judge, pairs_of
from bench.compare_report import QUICK_REPEATS, reach
from bench.compare_run import REPEATS, Measured, measure_sides
from bench.compare_sides import Side, git, resolve
from bench.console import terminal
from bench.disturber import disturbing
from bench.escape import visible
from bench.options import RunOptions
from bench.paths import RESULTS
from bench.plant import SLOW, WRONG, comparable
from bench.prepare import Prepared, prepare
from bench.regress_margin import profile, save
from bench.regress_output import exit_code
from bench.run import make_cases
from bench.runner import Settings, Target
from bench.stats.paired import MARGIN
from ecp.errors import EcpError, UsageError

GATE = Settings(min_samples=10, min_seconds=1.0, warmup_seconds=3.0)
QUICK = Settings(min_samples=10, min_seconds=0.6, warmup_seconds=2.0)
# Seconds of a pair apart from its turns: start, warm-up, output check, states before and after.
PAIR_SECONDS = 1.6
# How faults get into side B; campaigns of another way are not continued.
PLANTED_BY = "options"


@dataclass(frozen=True)
class Step:
    """One comparison of the campaign.

    ``kind``: ``aa``, ``slow`` or ``wrong``; ``target``: slow-down to plant (0.05: 5 %); ``disturb``: share of one
    processor that a stranger uses meanwhile; ``repeats``: rounds in which disturbed pairs are measured again.
    """

    name: str
    kind: str
    target: float
    pairs: int
    settings: Settings
    repeats: int
    disturb: float = 0.0

    @property
    def seconds(self) -> float:
        """What it will take, roughly; every third iteration is not recorded, disturbed pairs are measured twice."""
        if self.kind == "wrong":
            return PAIR_SECONDS + 3 * self.settings.min_seconds
        rounds = 2 if self.disturb else 1
        return rounds * self.pairs * (PAIR_SECONDS + 3 * self.settings.min_seconds)

    @property
    def planted(self) -> dict[str, float]:
        """What side B is asked for."""
        return {"aa": {}, "slow": {SLOW: self.target}, "wrong": {WRONG: 1.0}}[self.kind]


def steps(
    aa: int, repeats: int, targets: Sequence[float], wrong: int = 0, disturb: float = 0.0
) -> Iterator[Step]:
    """The campaign in its order."""
    more = f"-beside-{disturb:g}" if disturb else ""
    for n in range(aa):
        yield Step(f"aa-{n}{more}", "aa", 0.0, 7, QUICK, QUICK_REPEATS, disturb)
    for n in range(repeats):
        for target in targets:
            yield Step(f"slow-{target:g}-{n}{more}", "slow", target, 10, GATE, REPEATS, disturb)
    for n in range(wrong):
        yield Step(f"wrong-{n}{more}", "wrong", 0.0, 10, QUICK, QUICK_REPEATS, disturb)


@dataclass
class Campaign:
    """State on disk: the revision and the finished steps of one folder."""

    folder: Path
    base: str
    model: str
    device: str
    done: dict[str, dict[str, Any]]

    @property
    def path(self) -> Path:
        """One line for the campaign, then one per finished step."""
        return self.folder / "campaign.jsonl"

    @classmethod
    def open(cls, folder: Path, revision: str, model: str, device: str) -> Campaign:
        """Begin, or continue what lies in ``folder`` (then with the revision that it began with)."""
        path = folder / "campaign.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                print(f"{path}: an incomplete line is left out", file=sys.stderr)
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if rows:
            head = rows[0]
            if head.get("planted_by") != PLANTED_BY:
                raise UsageError(f"{folder} holds a campaign that planted in another way; choose --out")
            if (head["model"], head["device"]) != (model, device):
                raise UsageError(
                    f"{folder} holds a campaign of {head['model']} on {head['device']}; choose --out"
                )
            return cls(folder, head["base"], model, device, {r["name"]: r for r in rows[1:]})
        folder.mkdir(parents=True, exist_ok=True)
        base = git("rev-parse", "--verify", f"{revision}^{{commit}}")
        campaign = cls(folder, base, model, device, {})
        head = {"base": base, "model": model, "device": device, "margin": MARGIN, "planted_by": PLANTED_BY}
        campaign._write({**head, "utc": _now()})
        return campaign

    def add(self, row: dict[str, Any]) -> None:
        """Keep a finished step."""
        self.done[row["name"]] = row
        self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def run_step(
    step: Step, campaign: Campaign, prepared: dict[str, Prepared], target: Target, tell: Any
) -> None:
    """Measure one step and keep its line. Raises :class:`EcpError` where the code measured has not planted."""
    side = resolve(campaign.base, campaign.folder)
    with disturbing(step.disturb) as disturbance:
        measured = measure_sides(
            (side, Side(step.name, "revision", campaign.base)),
            make_cases("latency", RunOptions(campaign.device, campaign.model, "ecp"), (), ()),
            prepared,
            device=campaign.device,
            target=target,
            pairs=step.pairs,
            seed=sum(step.name.encode()) + 1000 * len(campaign.done),
            out=campaign.folder / "runs",
            settings=step.settings,
            purpose=step.name,
            progress=tell,
            repeats=step.repeats,
            planted=step.planted,
        )
    if measured.interrupted:
        raise KeyboardInterrupt
    campaign.add({**row_of(step, measured), "disturbed_by": disturbance.share})


def row_of(step: Step, measured: Measured) -> dict[str, Any]:
    """The line of a finished step: its verdict, its pairs, and whether the gate did what it must."""
    for record in measured.b:
        if record.samples_ms and record.extra.get("planted", {}) != step.planted:
            raise EcpError(f"{step.name}: side B was asked to plant {step.planted} and did not")
    (verdict,) = judge(measured.a, comparable(measured.b), measured.run_a, measured.run_b, margin=MARGIN)
    pairs = [(a, b) for a, b in pairs_of(measured.a, measured.b) if a.samples_ms and b.samples_ms]
    return {
        **verdict.to_dict(),
        "name": step.name,
        "kind": step.kind,
        "target": step.target,
        "disturb": step.disturb,
        "exit_code": exit_code([verdict]),
        "wrong_outputs": [sum(r.error.get("ok") is False for r in side) for side in (measured.a, measured.b)],
        "differences": [round(difference_of(a, b), 6) for a, b in pairs],
        "statuses": [f"{a.status}/{b.status}" for a, b in pairs],
        "pair_wall_s": [round(a.extra.get("pair_wall_s", 0.0), 3) for a, _ in pairs],
        "runs": [folder.name for folder in measured.folders],
        "utc": _now(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run or continue the campaign; 0 when the gate held, 1 when it did not, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench.regress_proof", description=__doc__)
    parser.add_argument("--model", default="vit_tiny")
    parser.add_argument("--device", default="local")
    parser.add_argument("--revision", default="HEAD", help="what is measured, on both sides")
    parser.add_argument("--aa", type=int, default=20, help="A/A comparisons")
    parser.add_argument("--repeats", type=int, default=3, help="comparisons by the gate per planted size")
    parser.add_argument(
        "--sizes", type=float, nargs="+", default=[0.05, 0.21, 0.01], help="slow-downs to plant"
    )
    parser.add_argument("--wrong", type=int, default=3, help="comparisons with a planted wrong output")
    parser.add_argument(
        "--disturb",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of one processor used by a stranger",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "regress-proof", help="folder of the campaign")
    args = parser.parse_args(arguments)
    try:
        campaign = Campaign.open(args.out.resolve(), args.revision, args.model, args.device)
        return _carry_out(campaign, list(steps(args.aa, args.repeats, args.sizes, args.wrong, args.disturb)))
    except EcpError as error:
        print(f"error: {visible(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130


def _carry_out(campaign: Campaign, plan: list[Step]) -> int:
    console = terminal()
    todo = [s for s in plan if s.name not in campaign.done]
    minutes = sum(s.seconds for s in todo) / 60
    console.print(
        f"{len(todo)} of {len(plan)} comparisons to do, about {minutes:.0f} minutes for a model of vit_tiny's size; "
        f"revision {campaign.base[:10]}, {campaign.model} on {campaign.device}; nothing else should run"
        + (
            ""
            if not plan or not plan[0].disturb
            else f" but the disturber, {plan[0].disturb:.0%} of one processor"
        ),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    target = reach(campaign.device)
    prepared = {campaign.model: prepare(campaign.model)}
    bar = Progress(
        TextColumn("{task.description:24}", markup=False), BarColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        console=console, disable=not console.is_terminal, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=sum(s.pairs for s in todo), left="")
        before, begin = 0, time.monotonic()
        for step in todo:

            def tell(label: str, done: int, total: int, before: int = before, name: str = step.name) -> None:
                pairs = before + done
                rest = (time.monotonic() - begin) / pairs * (bar.tasks[0].total or 0) if pairs else 0.0
                left = f"of {rest / 60:.0f} min" if pairs else ""
                bar.update(task, completed=pairs, description=f"{name}: pair {done} of {total}", left=left)

            run_step(step, campaign, prepared, target, tell)
            before += step.pairs
            if not console.is_terminal:
                row = campaign.done[step.name]
                console.print(f"{step.name}: {row['verdict']} {regress_proof_table.percent(row['ratio'])}")
    rows = list(campaign.done.values())
    text = regress_proof_table.render(rows, campaign.base, campaign.model, campaign.device)
    (campaign.folder / "README.md").write_text(text)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    alike = [CellVerdict(**_fields(r)) for r in rows if r["kind"] == "aa" and not r["disturb"]]
    if alike:
        save(profile(campaign.device, alike, MARGIN), campaign.folder)
    return 0 if regress_proof_table.holds(rows) else 1


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k in CellVerdict.__dataclass_fields__}


if __name__ == "__main__":
    sys.exit(main())
