"""Each device's own margin: what A/A comparisons (the same code against itself) showed on it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.compare_judge import CellVerdict
from bench.stats.paired import MARGIN
from bench.stats.wilson import wilson
from ecp.errors import UsageError

STEPS = (0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)


@dataclass(frozen=True)
class NoiseProfile:
    """Result of an A/A campaign on one device.

    ``false_alarms``: comparisons that claimed a difference at ``margin``; ``interval``: its Wilson 95 %
    interval as a share. ``largest``: largest |ratio - 1| seen; ``suggested``: margin for this device.
    """

    device: str
    comparisons: int
    judged: int
    false_alarms: int
    interval: tuple[float, float]
    margin: float
    largest: float
    median_mde: float | None
    suggested: float
    verdicts: dict[str, int]


def profile(device: str, verdicts: Sequence[CellVerdict], margin: float) -> NoiseProfile:
    """Summarise A/A verdicts. Comparisons that could not be judged (unstable, failed) count as such only."""
    judged = [v for v in verdicts if v.verdict in ("regressed", "improved", "unchanged", "inconclusive")]
    alarms = sum(v.verdict in ("regressed", "improved") for v in judged)
    ratios = [abs(math.log(v.ratio)) for v in judged if v.ratio]
    largest = math.expm1(max(ratios, default=0.0))
    detectable = sorted(v.mde for v in judged if v.mde is not None)
    counted = {
        name: sum(v.verdict == name for v in verdicts) for name in sorted({v.verdict for v in verdicts})
    }
    # Twice the largest difference between equal codes: nothing seen so far comes near an alarm.
    suggested = next((s for s in STEPS if s >= max(2 * largest, MARGIN)), STEPS[-1])
    return NoiseProfile(
        device=device,
        comparisons=len(verdicts),
        judged=len(judged),
        false_alarms=alarms,
        interval=wilson(alarms, len(judged)),
        margin=margin,
        largest=largest,
        median_mde=detectable[len(detectable) // 2] if detectable else None,
        suggested=suggested,
        verdicts=counted,
    )


def _file(device: str, results: Path) -> Path:
    return results / f"noise-{device}.json"


def save(found: NoiseProfile, results: Path) -> Path:
    """Keep the profile beside the runs; the next ``regress`` on this device uses its margin."""
    path = _file(found.device, results)
    path.write_text(json.dumps(asdict(found), indent=1) + "\n")
    return path


def device_margin(device: str, results: Path) -> tuple[float, str]:
    """``(margin, where it comes from)``: the device's A/A profile if there is one, else the default."""
    path = _file(device, results)
    try:
        margin = float(json.loads(path.read_text())["suggested"])
    except FileNotFoundError:
        return MARGIN, "default; `regress --aa 20` measures this device's own"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged ({error}); delete it or run `regress --aa 20` again") from error
    return margin, f"A/A profile {path.name}"
