"""``python -m bench.regress_proof``: what the gate is worth on this device, measured.

1. A/A: the revision against itself, 20 comparisons of 7 pairs: false alarms.
2. A slow-down is planted in the matrix product (:mod:`bench.planted`); two measurements say how much a planted share
   costs, then 5 % and 1 % are planted and their true size is measured by more pairs.
3. The gate compares each with the clean revision, 10 pairs a time: 5 % must be found, 1 % must not be claimed.

One line per comparison goes to ``campaign.jsonl`` as it ends; the same command continues an interrupted campaign.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench import regress_proof_table
from bench.compare_judge import CellVerdict, difference_of, judge
from bench.compare_report import reach
from bench.compare_run import Measured, measure_sides
from bench.compare_sides import Side, git, resolve
from bench.options import RunOptions
from bench.paths import RESULTS
from bench.planted import planted_commit
from bench.prepare import Prepared, prepare
from bench.regress_margin import profile, save
from bench.run import make_cases
from bench.runner import Settings, Target
from bench.stats.paired import MARGIN
from ecp.errors import EcpError, UsageError

GATE = Settings(min_samples=10, min_seconds=1.0, warmup_seconds=3.0)
QUICK = Settings(min_samples=10, min_seconds=0.6, warmup_seconds=2.0)
# Share of tiles that the first planted change slows down: large against noise, small against the whole.
FIRST_SHARE = 0.3
# Seconds of a pair apart from its turns: start, warm-up, output check, states before and after.
PAIR_SECONDS = 1.6


@dataclass(frozen=True)
class Step:
    """One comparison of the campaign. ``target``: slow-down to plant (0 none, None the first, unknown one)."""

    name: str
    kind: str
    target: float | None
    pairs: int
    settings: Settings

    @property
    def seconds(self) -> float:
        """What it will take, roughly; every third iteration is not recorded."""
        return self.pairs * (PAIR_SECONDS + 2 * 1.5 * self.settings.min_seconds)


def steps(aa: int, repeats: int, targets: tuple[float, ...]) -> Iterator[Step]:
    """The campaign in its order."""
    for n in range(aa):
        yield Step(f"aa-{n}", "aa", 0.0, 7, QUICK)
    yield Step("first", "first", None, 10, QUICK)
    for target in targets:
        yield Step(f"trim-{target:g}", "trim", target, 12, QUICK)
        yield Step(f"size-{target:g}", "size", target, 20, GATE)
    for n in range(repeats):
        for target in targets:
            yield Step(f"gate-{target:g}-{n}", "gate", target, 10, GATE)


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
            if (head["model"], head["device"]) != (model, device):
                raise UsageError(
                    f"{folder} holds a campaign of {head['model']} on {head['device']}; choose --out"
                )
            return cls(folder, head["base"], model, device, {r["name"]: r for r in rows[1:]})
        folder.mkdir(parents=True, exist_ok=True)
        base = git("rev-parse", "--verify", f"{revision}^{{commit}}")
        campaign = cls(folder, base, model, device, {})
        campaign._write({"base": base, "model": model, "device": device, "margin": MARGIN, "utc": _now()})
        return campaign

    def add(self, row: dict[str, Any]) -> None:
        """Keep a finished step."""
        self.done[row["name"]] = row
        self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")

    def share(self, step: Step) -> float:
        """Share of tiles to slow down for the step's slow-down, from what the shares measured before cost."""
        if step.kind == "first":
            return FIRST_SHARE
        if step.kind == "aa" or step.target is None:
            return 0.0
        if step.kind == "trim":
            before = [r for r in self.done.values() if r["kind"] in ("first", "trim")][-1]
        else:
            before = self.done[f"trim-{step.target:g}"]
        cost = (before["ratio"] or 0.0) - 1.0
        if before["kind"] == "first" and cost <= 0.02:
            raise EcpError(
                f"slowing {FIRST_SHARE:.0%} of the tiles down cost {cost:.1%}: nothing to plant with"
            )
        factor = step.target / max(cost, 1e-6)
        # A small cost is known roughly: it corrects a share, it does not turn it over.
        return min(
            1.0, before["share_of_tiles"] * (min(2.0, max(0.5, factor)) if step.kind != "trim" else factor)
        )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def run_step(
    step: Step, campaign: Campaign, prepared: dict[str, Prepared], target: Target, tell: Any
) -> None:
    """Measure one step and keep its line."""
    share = campaign.share(step)
    commit = planted_commit(share, campaign.base) if share else campaign.base
    sides = resolve(campaign.base, campaign.folder), Side(f"{step.name}", "revision", commit)
    measured = measure_sides(
        sides,
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
    )
    if measured.interrupted:
        raise KeyboardInterrupt
    (verdict,) = judge(measured.a, measured.b, measured.run_a, measured.run_b, margin=MARGIN)
    campaign.add(_row(step, share, verdict, measured))


def _row(step: Step, share: float, verdict: CellVerdict, measured: Measured) -> dict[str, Any]:
    right = {r.block: r for r in measured.b}
    pairs = [(a, right[a.block]) for a in measured.a if a.samples_ms and right[a.block].samples_ms]
    return {
        **verdict.to_dict(),
        "name": step.name,
        "kind": step.kind,
        "target": step.target,
        "share_of_tiles": share,
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
    parser.add_argument("--revision", default="HEAD", help="what is measured and planted into")
    parser.add_argument("--aa", type=int, default=20, help="A/A comparisons")
    parser.add_argument("--repeats", type=int, default=3, help="comparisons by the gate per planted size")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.05, 0.01], help="slow-downs to plant")
    parser.add_argument("--out", type=Path, default=RESULTS / "regress-proof", help="folder of the campaign")
    args = parser.parse_args(arguments)
    try:
        campaign = Campaign.open(args.out.resolve(), args.revision, args.model, args.device)
        return _carry_out(campaign, list(steps(args.aa, args.repeats, tuple(args.sizes))))
    except EcpError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130


def _carry_out(campaign: Campaign, plan: list[Step]) -> int:
    console = Console()
    todo = [s for s in plan if s.name not in campaign.done]
    minutes = sum(s.seconds for s in todo) / 60
    console.print(
        f"{len(todo)} of {len(plan)} comparisons to do, about {minutes:.0f} minutes for a model of vit_tiny's size; "
        f"revision {campaign.base[:10]}, {campaign.model} on {campaign.device}; nothing else should run",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    target = reach(campaign.device)
    prepared = {campaign.model: prepare(campaign.model)}
    bar = Progress(
        TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
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
    alike = [CellVerdict(**_fields(r)) for r in rows if r["kind"] == "aa"]
    if alike:
        save(profile(campaign.device, alike, MARGIN), campaign.folder)
    return 0 if regress_proof_table.holds(rows) else 1


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k in CellVerdict.__dataclass_fields__}


if __name__ == "__main__":
    sys.exit(main())
