"""Raw samples as a line of a few hundred bytes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

WIDTH, HEIGHT = 230, 34
MOST = 400


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low, (high - low) or abs(high) or 1.0


def samples(blocks: Sequence[Sequence[float]]) -> str:
    """SVG of every sample in order (thinned evenly above a few hundred), block limits and block medians."""
    blocks = [b for b in blocks if b]
    if not blocks or sum(map(len, blocks)) < 2:
        return ""
    every = max(1, sum(map(len, blocks)) // MOST)
    low, span = _scale([v for b in blocks for v in b])
    step = WIDTH / sum(map(len, blocks))
    line, seps, medians, x = [], [], [], 0.0
    for block in blocks:
        start = x
        for i, value in enumerate(block):
            if i % every == 0:
                y = HEIGHT - 2 - (value - low) / span * (HEIGHT - 4)
                line.append(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}")
            x += step
        level = HEIGHT - 2 - (median(block) - low) / span * (HEIGHT - 4)
        medians.append(f"M{start:.1f} {level:.1f}H{x:.1f}")
        if block is not blocks[-1]:
            seps.append(f"M{x:.1f} 0V{HEIGHT}")
    label = f"{sum(map(len, blocks))} samples in {len(blocks)} blocks, {low:.4g} to {low + span:.4g}"
    return _svg(label, f'<path class="sep" d="{"".join(seps)}"/>' if seps else "", line, medians)


def course(values: Sequence[float], levels: Sequence[tuple[int, int, float]] = ()) -> str:
    """SVG of one value per run; ``levels`` are (start, stop, level) pieces of a fit."""
    low, span = _scale(values)
    step = WIDTH / max(1, len(values) - 1)

    def height(v: float) -> float:
        return HEIGHT - 3 - (v - low) / span * (HEIGHT - 6)

    line = [f"{'M' if i == 0 else 'L'}{i * step:.1f} {height(v):.1f}" for i, v in enumerate(values)]
    fit = [
        f"M{a * step:.1f} {height(v):.1f}H{max(a, b - 1) * step:.1f}" for a, b, v in levels if len(levels) > 1
    ]
    return _svg(f"{len(values)} runs, {min(values):.4g} to {max(values):.4g}", "", line, fit)


def _svg(label: str, extra: str, line: Sequence[str], marks: Sequence[str]) -> str:
    box = f'class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"'
    drawn = f'<path d="{"".join(line)}"/>' + (f'<path class="med" d="{"".join(marks)}"/>' if marks else "")
    return f'<svg {box} aria-label="{label}">{extra}{drawn}</svg>'
