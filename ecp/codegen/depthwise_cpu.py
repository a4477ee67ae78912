"""Depthwise convolutions on CPU devices: a vector holds neighbouring channels, each with a filter of its own.

A pixel whose window lies inside the image takes all kernel positions without a test; at the border each position is
tested. Two loads a multiply-add: such layers are bound by the caches, so nothing is kept in registers across pixels.
"""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.conv_cut import Geometry, Source, find_source
from ecp.codegen.kernel import Kernel, Launch
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import var

# Ranges of pixels that are handed out.
ITEMS = 64


def depthwise(env: Env, s: Schedule, c: Contraction) -> Launch | None:
    """Code of a convolution with one input and one output channel a group, read channels last; None of any other."""
    shape = env.graph.types[c.anchor.inputs[0]].shape
    alone = len(shape) == 4 and c.n == 1 and c.anchor.attrs["group"] == shape[1] > 1
    source = find_source(env, c) if alone else None
    vec = s.vec
    while vec > 1 and shape[1] % vec:
        vec //= 2
    if source is None or source.channel != 1 or vec < 4:
        return None
    return _emit(env, s, c, source, vec)


def _emit(env: Env, s: Schedule, c: Contraction, source: Source, vec: int) -> Launch:
    g, k = Geometry(env, c), Kernel("conv", s.attributes)
    channels, (height, width), (high, wide) = g.shape[1], g.shape[2:], g.out[2:]
    each = max(1, ceil(c.m / ITEMS))
    k.emit("const int item = get_global_id(0);")
    with k.block(f"for (int m = item*{each}; m < min((item + 1)*{each}, {c.m}); ++m)"):
        k.emit(f"const int image = m / {high * wide}, y = m / {wide} % {high}, x = m % {wide};")
        k.emit(f"const int top = y*{g.strides[0]} - {g.pads[0]}, left = x*{g.strides[1]} - {g.pads[1]};")
        place = f"image*{source.image} + top*{source.row} + left*{source.pixel}"
        k.emit(f"const int from = {source.base} + {place};")
        below, right = ((n - 1) * d for n, d in zip(g.window, g.dilations))
        k.emit(
            f"const int inside = top >= 0 && top < {height - below} && left >= 0 && left < {width - right};"
        )
        with k.block(f"for (int v = 0; v < {channels // vec}; ++v)"):
            channel = var("v", channels // vec) * vec + lane(vec)
            reader = Reader(env, k, vec)
            k.emit(f"float{vec} sum = {reader.read(c.bias, [channel]) if c.bias else '0.0f'};")
            terms = _terms(env, k, c, source, g, vec)
            with k.block("if (inside)"):
                for term, _ in terms:
                    k.emit(term)
            with k.block("else"):
                for term, (dy, dx) in terms:
                    k.emit(f"if ((uint)(top + {dy}) < {height}u && (uint)(left + {dx}) < {width}u) {term}")
            coords = [var("image", g.out[0]), channel, var("y", high), var("x", wide)]
            result, at = forward(reader, c.tail, c.anchor.output, "sum", coords)
            reader.store(c.value, at, result)
    k.flops = c.flops
    return k.finish((ceil(c.m / each), 1, 1), (1, 1, 1))


def _terms(
    env: Env, k: Kernel, c: Contraction, source: Source, g: Geometry, vec: int
) -> list[tuple[str, tuple[int, int]]]:
    """(statement, offset of the input pixel) of every kernel position; filters lie as [position][channel]."""
    assert c.weights is not None
    channels = g.shape[1]
    taps = c.weights.reshape(channels, prod(g.window)).T
    filters = env.constant_buffer(f"{c.weights_key}@depthwise", np.ascontiguousarray(taps))
    weights, data = k.argument(filters.name, filters.dtype), k.argument(source.buffer, source.dtype)
    load = {"float32": f"vload{vec}", "float16": f"vload_half{vec}"}
    found = []
    for tap, (ky, kx) in enumerate(np.ndindex(*g.window)):
        dy, dx = ky * g.dilations[0], kx * g.dilations[1]
        value = f"{load[source.dtype]}(v, {data} + (from + {dy * source.row + dx * source.pixel}))"
        weight = f"{load[filters.dtype]}(v, {weights} + {tap * channels})"
        found.append((f"sum = fma({value}, {weight}, sum);", (dy, dx)))
    return found
