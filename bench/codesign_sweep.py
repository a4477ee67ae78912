"""The variants of a sweep, with synthesized weights, and their latencies on a device.

Latency does not depend on weight values, so nothing is trained here: a variant is built, exported, compiled
and timed. All variants stay loaded and are timed in rounds of random order, one after the other.
"""

from __future__ import annotations

import random
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.names import check_name
from ecp.errors import UsageError
from ecp.model.macs import SHAPES, VitShape, total_macs

Log = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """One network of the sweep: a ViT shape and a core ratio."""

    base: str
    shape: VitShape
    ratio: float

    @property
    def family(self) -> str:
        """What is swept over ratios together: base, image size, and depth or heads where they differ."""
        original = SHAPES[self.base]
        parts = [self.base]
        if self.shape.image != original.image:
            parts.append(f"@{self.shape.image}")
        if self.shape.depth != original.depth:
            parts.append(f" depth {self.shape.depth}")
        if self.shape.heads != original.heads:
            parts.append(f" heads {self.shape.heads}")
        return "".join(parts)

    @property
    def name(self) -> str:
        """A unique name; the registry's where the registry has the network."""
        return self.family if self.ratio == 1.0 else f"ecp_{self.family}@{self.ratio:g}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return total_macs(self.shape, self.ratio)


@dataclass
class Measured:
    """Latencies of one variant: milliseconds per round, compile seconds, device ms in attention and in all."""

    variant: Variant
    rounds: list[float] = field(default_factory=list)
    compile_s: float = 0.0
    attention_ms: float | None = None
    device_ms: float | None = None

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return float(np.median(self.rounds))


def variants(
    bases: Sequence[str],
    ratios: Sequence[float],
    sizes: Sequence[int],
    depths: Sequence[int],
    heads: Sequence[int],
) -> list[Variant]:
    """Every combination; an empty list of sizes, depths or heads keeps the base's own. Heads are 64 wide."""
    found = []
    for base in bases:
        check_name("model for co-design", base, SHAPES)
        original = SHAPES[base]
        for image in sizes or [original.image]:
            for depth in depths or [original.depth]:
                for count in heads or [original.heads]:
                    if depth < 1 or count < 1:
                        raise UsageError(f"depth {depth}, heads {count}: use positive numbers")
                    shape = replace(original, image=image, depth=depth, heads=count, dim=64 * count)
                    found += [Variant(base, shape, ratio) for ratio in ratios]
    return list(dict.fromkeys(found))


def export(variant: Variant, path: Path) -> None:
    """Write the variant's ONNX file with weights from a fixed seed."""
    import timm
    import torch

    from ecp.model.convert import to_ecp
    from ecp.model.training.build import export as write

    shape = variant.shape
    torch.manual_seed(0)
    vit = timm.create_model(
        f"{variant.base}_patch16_224",
        img_size=shape.image,
        embed_dim=shape.dim,
        depth=shape.depth,
        num_heads=shape.heads,
    )
    write(to_ecp(vit, variant.ratio), path, shape.image)


def _open(
    variant: Variant, device: str, precision: str, threads: int | None, folder: Path
) -> tuple[Any, float]:
    import ecp

    path = folder / "variant.onnx"
    export(variant, path)
    begin = time.perf_counter()
    # Cold: the time is reported, and a variant made for one sweep is not worth a place in the cache.
    bundle = ecp.compile(path, device=device, precision=precision, name=variant.name, cache=False)
    session = ecp.Session(bundle, device, threads)
    seconds = time.perf_counter() - begin
    size = variant.shape.image
    pixels = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
    name = bundle.plan.inputs[0].name
    dtype = np.dtype(bundle.plan.inputs[0].dtype)
    session.stage({name: pixels.astype(dtype)})
    return session, seconds


def _round(session: Any, repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        session.execute()
    return 1e3 * (time.perf_counter() - begin) / repeats


def measure(
    chosen: Sequence[Variant],
    device: str,
    precision: str,
    threads: int | None,
    rounds: int,
    seed: int,
    log: Log,
) -> list[Measured]:
    """Latencies of all variants on a device of this computer; raises the compiler's and device's errors."""
    results = [Measured(v) for v in chosen]
    sessions: list[Any] = []
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for result in results:
                session, result.compile_s = _open(result.variant, device, precision, threads, Path(folder))
                sessions.append(session)
                log(f"compiled {result.variant.name} in {result.compile_s:.1f} s")
        first = [_round(session, 1) for session in sessions]
        repeats = [max(1, round(30 / max(ms, 0.01))) for ms in first]
        order = random.Random(seed)  # noqa: S311  the order of measurements, no secret
        for number in range(rounds + 2):
            indices = list(range(len(results)))
            order.shuffle(indices)
            for i in indices:
                ms = _round(sessions[i], repeats[i])
                if number >= 2:  # two rounds of warm-up
                    results[i].rounds.append(ms)
        for result, session in zip(results, sessions):
            launches = session.profile(5)
            result.device_ms = sum(launch.ms for launch in launches)
            attention = [launch.ms for launch in launches if "attention" in launch.family]
            # None where attention is a part of a larger launch: its time is not nothing, it is not known.
            result.attention_ms = sum(attention) if attention else None
    finally:
        for session in sessions:
            session.close()
    return results
