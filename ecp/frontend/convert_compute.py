"""Products, convolution, pooling and normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ecp.frontend.convert_layout import emit_pad, emit_slice
from ecp.frontend.einsum import emit_einsum
from ecp.frontend.registry import NodeContext, converter


@converter("MatMul")
def matmul(c: NodeContext) -> str:
    """MatMul."""
    return c.emit("MatMul", c.input(0), c.input(1))


@converter("Gemm")
def gemm(c: NodeContext) -> str:
    """alpha A B + beta C; transposes and factors fold into constant operands."""
    a, b = c.input(0), c.input(1)
    a = c.transpose(a, (1, 0)) if c.attr("transA", 0) else a
    b = c.transpose(b, (1, 0)) if c.attr("transB", 0) else b
    alpha, beta = c.attr("alpha", 1.0), c.attr("beta", 1.0)
    if alpha != 1:
        b = c.emit("Mul", b, c.add_const(alpha, like=b))
    out = c.emit("MatMul", a, b)
    if not c.has(2) or beta == 0:
        return out
    bias = c.input(2) if beta == 1 else c.emit("Mul", c.input(2), c.add_const(beta, like=a))
    return c.emit("Add", out, bias)


@converter("Einsum")
def einsum(c: NodeContext) -> str:
    """Einsum as Transpose, Reshape and MatMul."""
    return emit_einsum(c, c.attr("equation"), c.inputs)


def _window(c: NodeContext, kernel: list[int], size: tuple[int, ...]) -> dict[str, Any]:
    """strides, dilations and resolved pads of a convolution or pooling."""
    rank = len(kernel)
    strides, dilations = c.attr("strides") or [1] * rank, c.attr("dilations") or [1] * rank
    mode = c.attr("auto_pad", "NOTSET")
    pads = c.attr("pads") or [0] * 2 * rank
    if mode == "VALID":
        pads = [0] * 2 * rank
    elif mode.startswith("SAME"):
        need = []
        for s, k, st, d in zip(size, kernel, strides, dilations):
            need.append(max((-(-s // st) - 1) * st + d * (k - 1) + 1 - s, 0))
        small, large = [n // 2 for n in need], [n - n // 2 for n in need]
        pads = [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
    return {"strides": tuple(strides), "dilations": tuple(dilations), "pads": tuple(pads)}


@converter("Conv")
def conv(c: NodeContext) -> str:
    """Conv; negative pads cut the input first."""
    kernel = list(c.shape(1)[2:])
    window = _window(c, kernel, c.shape(0)[2:])
    x, rank = c.input(0), len(kernel)
    if min(window["pads"], default=0) < 0:
        before, after = (0, 0, *window["pads"][:rank]), (0, 0, *window["pads"][rank:])
        x = emit_pad(c, x, [min(p, 0) for p in before], [min(p, 0) for p in after])
        window["pads"] = tuple(max(p, 0) for p in window["pads"])
    return c.emit("Conv", x, *c.inputs[1:], **window, group=c.attr("group", 1))


@converter("ConvTranspose")
def conv_transpose(c: NodeContext) -> str:
    """Stride = kernel: a MatMul and a pixel shuffle; otherwise a Conv of the zero-stuffed input."""
    x, w, group = c.input(0), c.input(1), c.attr("group", 1)
    kernel, size = c.shape(1)[2:], c.shape(0)[2:]
    rank = len(kernel)
    strides, dilations = c.attr("strides") or [1] * rank, c.attr("dilations") or [1] * rank
    extra = c.attr("output_padding") or [0] * rank
    extent = [d * (k - 1) + 1 for d, k in zip(dilations, kernel)]
    begin, end = _transpose_pads(c, size, strides, extent, extra)
    plain = not any((*begin, *end, *extra)) and group == 1 and list(strides) == list(kernel) == extent
    if plain:
        return _shuffle_upsample(c, x, w)
    m = c.shape(w)[1]
    # [C, M/g, *k] -> [M, C/g, *k], flipped: the kernel of the equivalent Conv
    weights = c.reshape(w, (group, c.shape(w)[0] // group, m, *kernel))
    weights = c.transpose(weights, (0, 2, 1, *range(3, 3 + rank)))
    weights = c.reshape(weights, (group * m, c.shape(w)[0] // group, *kernel))
    weights = emit_slice(c, weights, {2 + i: (k - 1, k, -1) for i, k in enumerate(kernel)})
    x = _stuff_zeros(c, x, strides)
    low = [e - 1 - b for e, b in zip(extent, begin)]
    high = [e - 1 - b + o for e, b, o in zip(extent, end, extra)]
    x = emit_pad(c, x, [0, 0, *(min(p, 0) for p in low)], [0, 0, *(min(p, 0) for p in high)])
    pads = tuple(max(p, 0) for p in (*low, *high))
    bias = [c.input(2)] if c.has(2) else []
    return c.emit(
        "Conv", x, weights, *bias, strides=(1,) * rank, pads=pads, dilations=tuple(dilations), group=group
    )


def _transpose_pads(
    c: NodeContext, size: tuple[int, ...], strides: list[int], extent: list[int], extra: list[int]
) -> tuple[list[int], list[int]]:
    rank, mode = len(size), c.attr("auto_pad", "NOTSET")
    wanted = c.attr("output_shape")
    if wanted is None and mode.startswith("SAME"):
        wanted = [s * st for s, st in zip(size, strides)]
    if wanted is None:
        pads = (c.attr("pads") if mode == "NOTSET" else None) or [0] * 2 * rank
        return pads[:rank], pads[rank:]
    wanted = wanted[-rank:]
    total = [st * (s - 1) + o + e - w for s, st, o, e, w in zip(size, strides, extra, extent, wanted)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _stuff_zeros(c: NodeContext, x: str, strides: list[int]) -> str:
    """stride - 1 zeros between neighbours of each spatial axis."""
    n, ch, *size = c.shape(x)
    if all(s == 1 for s in strides):
        return x
    spread = c.reshape(x, [n, ch, *(d for s in size for d in (s, 1))])
    after = [0, 0, *(d for st in strides for d in (0, st - 1))]
    wide = c.reshape(
        emit_pad(c, spread, [0] * len(after), after), [n, ch, *(s * st for s, st in zip(size, strides))]
    )
    return emit_slice(
        c, wide, {2 + i: (0, (s - 1) * st + 1, 1) for i, (s, st) in enumerate(zip(size, strides))}
    )


def _shuffle_upsample(c: NodeContext, x: str, w: str) -> str:
    (n, ch, *size), (_, m, *kernel) = c.shape(x), c.shape(w)
    rank = len(size)
    rows = c.reshape(c.transpose(x, (0, *range(2, 2 + rank), 1)), (n, math.prod(size), ch))
    out = c.emit("MatMul", rows, c.reshape(w, (ch, m * math.prod(kernel))))
    out = c.reshape(out, (n, *size, m, *kernel))
    order = [0, 1 + rank] + [axis for i in range(rank) for axis in (1 + i, 2 + rank + i)]
    out = c.reshape(c.transpose(out, order), (n, m, *(s * k for s, k in zip(size, kernel))))
    return c.emit("Add", out, c.reshape(c.input(2), (m, *(1,) * rank))) if c.has(2) else out


def _pool_attrs(c: NodeContext) -> dict[str, Any]:
    kernel, size = c.attr("kernel_shape"), c.shape(0)[2:]
    rank, window = len(kernel), _window(c, kernel, size)
    ceil, shape = c.attr("ceil_mode", 0) == 1, []
    for i in range(rank):
        pads, stride = window["pads"], window["strides"][i]
        room = size[i] + pads[i] + pads[rank + i] - window["dilations"][i] * (kernel[i] - 1) - 1
        if room < 0:
            raise ValueError(f"kernel {kernel} larger than the padded input {c.shape(0)}")
        count = (-(-room // stride) if ceil else room // stride) + 1
        if ceil and (count - 1) * stride >= size[i] + pads[i]:
            count -= 1  # the last window would start in the end padding
        shape.append(count)
    return {**window, "kernel": tuple(kernel), "shape": tuple(shape)}


@converter("MaxPool")
def max_pool(c: NodeContext) -> str:
    """MaxPool without indices."""
    c.unused(1)
    return c.emit("MaxPool", c.input(0), **_pool_attrs(c))


@converter("AveragePool")
def average_pool(c: NodeContext) -> str:
    """AveragePool."""
    include = bool(c.attr("count_include_pad", 0))
    return c.emit("AveragePool", c.input(0), **_pool_attrs(c), count_include_pad=include)


@converter("LpPool")
def lp_pool(c: NodeContext) -> str:
    """LpPool: a mean of powers, times the window's size."""
    p, attrs = c.attr("p", 2), _pool_attrs(c)
    x = c.emit("Abs", c.input(0))
    powers = c.emit("Pow", x, c.add_const(p, like=x))
    mean = c.emit("AveragePool", powers, **attrs, count_include_pad=True)
    total = c.emit("Mul", mean, c.add_const(math.prod(attrs["kernel"]), like=x))
    return c.emit("Pow", total, c.add_const(1 / p, like=x))


@converter("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(c: NodeContext) -> str:
    """Global pooling: a reduction over the spatial axes."""
    x, axes = c.input(0), tuple(range(2, len(c.shape(0))))
    if c.op == "GlobalLpPool":
        p = c.attr("p", 2)
        powers = c.emit("Pow", c.emit("Abs", x), c.add_const(p, like=x))
        return c.emit(
            "Pow", c.emit("ReduceSum", powers, axes=axes, keepdims=True), c.add_const(1 / p, like=x)
        )
    return c.emit("ReduceMean" if c.op == "GlobalAveragePool" else "ReduceMax", x, axes=axes, keepdims=True)


@converter("BatchNormalization")
def batch_norm(c: NodeContext) -> list[str]:
    """x * (scale / sqrt(var + eps)) + (bias - mean * that); both fold when constant."""
    scale, bias, mean, var = (c.input(i) for i in range(1, 5))
    running: list[str] = []
    if c.attr("training_mode", 0):
        old, (mean, var) = (mean, var), _batch_statistics(c)
        momentum = c.attr("momentum", 0.9)
        for before, now in zip(old, (mean, var)):
            kept = c.emit("Mul", before, c.add_const(momentum, like=before))
            running.append(c.emit("Add", kept, c.emit("Mul", now, c.add_const(1 - momentum, like=now))))
    else:
        c.unused(1, 2, 3, 4)
    factor = c.emit(
        "Div", scale, c.emit("Sqrt", c.emit("Add", var, c.add_const(c.attr("epsilon", 1e-5), like=var)))
    )
    shift = c.emit("Sub", bias, c.emit("Mul", mean, factor))
    return [_affine(c, c.input(0), factor, shift), *running]


def _batch_statistics(c: NodeContext) -> tuple[str, str]:
    """Mean and variance of a constant input per channel: weights that are standardised at every run."""
    x = c.input(0)
    if c.constant_of(x) is None:
        raise c.unsupported("training mode over a value computed at run time")
    axes = tuple(i for i in range(len(c.shape(x))) if i != 1)
    mean = c.emit("ReduceMean", x, axes=axes, keepdims=True)
    centred = c.emit("Sub", x, mean)
    variance = c.emit("ReduceMean", c.emit("Mul", centred, centred), axes=axes, keepdims=False)
    return c.reshape(mean, (c.shape(x)[1],)), variance


def _affine(c: NodeContext, x: str, scale: str, bias: str) -> str:
    """x * scale + bias with one value per channel (axis 1)."""
    spatial, dtype = (1,) * (len(c.shape(x)) - 2), c.type(x).dtype
    scale, bias = (v if c.type(v).dtype == dtype else c.emit("Cast", v, to=dtype) for v in (scale, bias))
    x = c.emit("Mul", x, c.reshape(scale, (*c.shape(scale), *spatial)))
    return c.emit("Add", x, c.reshape(bias, (*c.shape(bias), *spatial)))


@converter("LayerNormalization")
def layer_norm(c: NodeContext) -> list[str]:
    """LayerNormalization; its statistics outputs are reductions of their own, where somebody reads them."""
    x, axis, epsilon = c.input(0), c.axis(c.attr("axis", -1)), c.attr("epsilon", 1e-5)
    out = [c.emit("LayerNormalization", *c.inputs, axis=axis, epsilon=epsilon)]
    if any(c.node.output[1:]):
        axes = tuple(range(axis, len(c.shape(0))))
        mean = c.emit("ReduceMean", x, axes=axes, keepdims=True)
        centred = c.emit("Sub", x, mean)
        variance = c.emit("ReduceMean", c.emit("Mul", centred, centred), axes=axes, keepdims=True)
        shifted = c.emit("Add", variance, c.add_const(epsilon, like=variance))
        out += [mean, c.emit("Reciprocal", c.emit("Sqrt", shifted))]
    return out


@converter("LpNormalization")
def lp_norm(c: NodeContext) -> str:
    """x / norm along an axis, 0 where the norm is 0."""
    x, axis, zero = c.input(0), c.axis(c.attr("axis", -1)), c.add_const(0, like=c.input(0))
    powers = c.emit("Abs", x) if c.attr("p", 2) == 1 else c.emit("Mul", x, x)
    norm = c.emit("ReduceSum", powers, axes=(axis,), keepdims=True)
    norm = norm if c.attr("p", 2) == 1 else c.emit("Sqrt", norm)
    return c.emit("Where", c.emit("Equal", norm, zero), zero, c.emit("Div", x, norm))


@converter("InstanceNormalization")
def instance_norm(c: NodeContext) -> str:
    """A LayerNormalization over the spatial axes and a per-channel affine map."""
    out = c.emit("LayerNormalization", c.input(0), axis=2, epsilon=c.attr("epsilon", 1e-5))
    return _affine(c, out, c.input(1), c.input(2))


@converter("GroupNormalization")
def group_norm(c: NodeContext) -> str:
    """A LayerNormalization over groups of channels; before opset 21 the affine map was per group."""
    shape, groups = c.shape(0), c.attr("num_groups")
    x = c.reshape(c.input(0), (shape[0], groups, math.prod(shape[1:]) // groups))
    x = c.emit("LayerNormalization", x, axis=2, epsilon=c.attr("epsilon", 1e-5))
    if c.opset < 21 and c.shape(1)[0] == groups:
        x = c.reshape(x, (shape[0], groups, shape[1] // groups, *shape[2:]))
        return c.reshape(_affine(c, x, c.input(1), c.input(2)), shape)
    return _affine(c, c.reshape(x, shape), c.input(1), c.input(2))


@converter("LRN")
def lrn(c: NodeContext) -> str:
    """Local response normalisation: a mean over a window of channels is an AveragePool along them."""
    x, size, shape = c.input(0), c.attr("size"), c.shape(0)
    if 0 in shape:
        return x
    before = (size - 1) // 2
    square = c.reshape(c.emit("Mul", x, x), (shape[0], 1, shape[1], math.prod(shape[2:])))
    mean = c.emit(
        "AveragePool", square, kernel=(size, 1), strides=(1, 1), dilations=(1, 1),
        pads=(before, 0, size - 1 - before, 0), shape=c.shape(square)[2:], count_include_pad=True,
    )  # fmt: skip
    scaled = c.emit("Mul", c.reshape(mean, shape), c.add_const(c.attr("alpha", 1e-4), like=x))
    base = c.emit("Add", scaled, c.add_const(c.attr("bias", 1.0), like=x))
    return c.emit("Div", x, c.emit("Pow", base, c.add_const(np.float32(c.attr("beta", 0.75)), like=x)))
