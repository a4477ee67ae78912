"""Hypothesis strategy: small random ONNX models of supported operators, with values that stay moderate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
_MAX_SIZE = 3000
Draw = Callable[..., Any]
Shape = tuple[int, ...]


@dataclass
class State:
    """A model being drawn: values with their shapes, nodes, weights."""

    draw: Draw
    values: list[tuple[str, Shape]] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def weight(self, shape: Shape) -> str:
        name = f"w{len(self.weights)}"
        scale = 1 / math.sqrt(max(shape[0] if shape else 1, 1))
        self.weights[name] = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        return name

    def ints(self, *values: int) -> str:
        name = f"i{len(self.weights)}"
        self.weights[name] = np.array(values, np.int64)
        return name

    def add(self, op: str, inputs: list[str], shape: Shape, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"n{len(self.nodes)}_{op}", **attrs))
        self.values.append((name, shape))
        return name

    def pick(self, test: Callable[[Shape], bool] = lambda s: True) -> tuple[str, Shape] | None:
        fitting = [v for v in self.values if test(v[1])]
        # the newest values are the likeliest, so that graphs grow long rather than wide
        return fitting[-1 - min(self.draw(st.integers(0, 3)), len(fitting) - 1)] if fitting else None

    def axis(self, shape: Shape) -> int:
        return self.draw(st.integers(0, len(shape) - 1))


UNARY = [
    "Relu",
    "Tanh",
    "Erf",
    "Sigmoid",
    "Abs",
    "Neg",
    "HardSwish",
    "LeakyRelu",
    "Elu",
    "Softplus",
    "Sin",
    "Cos",
]


def unary(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    s.add(s.draw(st.sampled_from(UNARY)), [name], shape)


def binary_weight(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    kept = tuple(d if s.draw(st.booleans()) else 1 for d in shape)
    other = s.weight(kept[s.draw(st.integers(0, len(kept))) :])
    order = [name, other] if s.draw(st.booleans()) else [other, name]
    s.add(s.draw(st.sampled_from(["Add", "Sub", "Mul", "Max", "Min"])), order, shape)


def binary_values(s: State) -> None:
    a, shape = s.pick() or s.values[0]
    b, other = s.pick(
        lambda o: len(o) == len(shape) and all(x == y or 1 in (x, y) for x, y in zip(o, shape))
    ) or (a, shape)
    out = tuple(np.broadcast_shapes(shape, other))
    if math.prod(out) <= _MAX_SIZE:
        s.add(s.draw(st.sampled_from(["Add", "Sub", "Mul"])), [a, b], out)


def transpose(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    perm = s.draw(st.permutations(range(len(shape))))
    s.add("Transpose", [name], tuple(shape[p] for p in perm), perm=list(perm))


def reshape(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    rest, out = math.prod(shape), []
    while rest > 1 and len(out) < 4:
        divisors = [d for d in range(1, rest + 1) if rest % d == 0]
        out.append(s.draw(st.sampled_from(divisors)))
        rest //= out[-1]
    target = (*out, rest) if rest > 1 or not out else tuple(out)
    s.add("Reshape", [name, s.ints(*target)], target)


def slice_(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    axis = s.axis(shape)
    start = s.draw(st.integers(0, shape[axis] - 1))
    step = s.draw(st.sampled_from([1, 1, 2, 3, -1]))
    end = s.draw(st.integers(start + 1, shape[axis])) if step > 0 else -(10**6)
    count = len(range(start, end if step > 0 else -1, step))
    out = (*shape[:axis], count, *shape[axis + 1 :])
    s.add("Slice", [name, s.ints(start), s.ints(end), s.ints(axis), s.ints(step)], out)


def concat(s: State) -> None:
    a, shape = s.pick() or s.values[0]
    axis = s.axis(shape)

    def fits(o: Shape) -> bool:
        return len(o) == len(shape) and o[:axis] + o[axis + 1 :] == shape[:axis] + shape[axis + 1 :]

    b, other = s.pick(fits) or (a, shape)
    out = (*shape[:axis], shape[axis] + other[axis], *shape[axis + 1 :])
    if math.prod(out) <= _MAX_SIZE:
        s.add("Concat", [a, b], out, axis=axis)


def split(s: State) -> None:
    found = s.pick(lambda o: max(o) > 1)
    if not found:
        return
    name, shape = found
    axis = s.draw(st.sampled_from([i for i, d in enumerate(shape) if d > 1]))
    first = s.draw(st.integers(1, shape[axis] - 1))
    outs = [f"v{len(s.nodes)}a", f"v{len(s.nodes)}b"]
    sizes = s.ints(first, shape[axis] - first)
    s.nodes.append(helper.make_node("Split", [name, sizes], outs, f"n{len(s.nodes)}_Split", axis=axis))
    for out, size in zip(outs, (first, shape[axis] - first)):
        s.values.append((out, (*shape[:axis], size, *shape[axis + 1 :])))


def expand(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    out = (s.draw(st.integers(1, 3)), *shape)
    if math.prod(out) <= _MAX_SIZE and len(out) <= 5:
        s.add("Expand", [name, s.ints(*out)], out)


def gather(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    axis = s.axis(shape)
    picks = s.draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=1, max_size=5))
    scalar = len(picks) == 1 and len(shape) > 1 and s.draw(st.booleans())
    index = f"i{len(s.weights)}"
    s.weights[index] = np.array(picks[0] if scalar else picks, np.int64)
    middle = () if scalar else (len(picks),)
    s.add("Gather", [name, index], (*shape[:axis], *middle, *shape[axis + 1 :]), axis=axis)


def pad(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    amounts = [s.draw(st.integers(0, 2)) for _ in range(2 * len(shape))]
    out = tuple(d + amounts[i] + amounts[len(shape) + i] for i, d in enumerate(shape))
    if math.prod(out) <= _MAX_SIZE:
        s.add("Pad", [name, s.ints(*amounts)], out)


def matmul_weight(s: State) -> None:
    name, shape = s.pick(lambda o: len(o) > 1) or (None, ())
    if name:
        width = s.draw(st.integers(1, 9))
        s.add("MatMul", [name, s.weight((shape[-1], width))], (*shape[:-1], width))


def matmul_values(s: State) -> None:
    name, shape = s.pick(lambda o: len(o) > 1) or (None, ())
    if name:
        perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        turned = s.add("Transpose", [name], tuple(shape[p] for p in perm), perm=perm)
        s.add("MatMul", [name, turned], (*shape[:-1], shape[-2]))
        s.add("Softmax", [s.values[-1][0]], s.values[-1][1], axis=-1)


def softmax(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    s.add("Softmax", [name], shape, axis=s.axis(shape))


def layer_norm(s: State) -> None:
    found = s.pick(lambda o: o[-1] > 1)
    if found:
        name, shape = found
        inputs = [name, s.weight(shape[-1:]), s.weight(shape[-1:])]
        s.add("LayerNormalization", inputs, shape, axis=-1, epsilon=0.01)


def reduce(s: State) -> None:
    name, shape = s.pick(lambda o: len(o) > 1) or (None, ())
    if name:
        axis, keep = s.axis(shape), s.draw(st.booleans())
        out = (*shape[:axis], *((1,) if keep else ()), *shape[axis + 1 :])
        op = s.draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"]))
        s.add(op, [name], out, axes=[axis], keepdims=int(keep))


def image(s: State) -> tuple[str, Shape]:
    """A value of rank 4 with sides of at least 2; reshaped into one where there is none."""
    found = s.pick(lambda o: len(o) == 4 and min(o[2:]) >= 2)
    if found:
        return found
    name, shape = s.values[0]
    flat = s.add("Reshape", [name, s.ints(math.prod(shape))], (math.prod(shape),))
    s.add("Expand", [flat, s.ints(4, math.prod(shape))], (4, math.prod(shape)))
    out = (1, math.prod(shape), 2, 2)
    return s.add("Reshape", [s.values[-1][0], s.ints(*out)], out), out


def _spatial(shape: Shape, kernel: int, stride: int, pads: int) -> Shape:
    return tuple((d + 2 * pads - kernel) // stride + 1 for d in shape[2:])


def conv(s: State) -> None:
    name, shape = image(s)
    kernel, stride, pads = s.draw(st.integers(1, 2)), s.draw(st.integers(1, 2)), s.draw(st.integers(0, 1))
    group = shape[1] if s.draw(st.booleans()) else 1
    width = shape[1] if group > 1 else s.draw(st.integers(1, 4))
    weights = s.weight((width, shape[1] // group, kernel, kernel))
    out = (shape[0], width, *_spatial(shape, kernel, stride, pads))
    s.add(
        "Conv", [name, weights, s.weight((width,))], out, strides=[stride] * 2, pads=[pads] * 4, group=group
    )


def pool(s: State) -> None:
    name, shape = image(s)
    stride, pads = s.draw(st.integers(1, 2)), s.draw(st.integers(0, 1))
    out = (*shape[:2], *_spatial(shape, 2, stride, pads))
    op = s.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    s.add(op, [name], out, kernel_shape=[2, 2], strides=[stride] * 2, pads=[pads] * 4)


def global_pool(s: State) -> None:
    name, shape = image(s)
    s.add(s.draw(st.sampled_from(["GlobalAveragePool", "GlobalMaxPool"])), [name], (*shape[:2], 1, 1))


def space_to_depth(s: State) -> None:
    name, shape = image(s)
    if shape[2] % 2 == 0 and shape[3] % 2 == 0:
        s.add("SpaceToDepth", [name], (shape[0], shape[1] * 4, shape[2] // 2, shape[3] // 2), blocksize=2)


def resize(s: State) -> None:
    name, shape = image(s)
    out = (*shape[:2], shape[2] * 2, shape[3] * 2)
    if math.prod(out) <= _MAX_SIZE:
        mode = s.draw(st.sampled_from(["nearest", "linear"]))
        s.add(
            "Resize",
            [name, "", "", s.ints(*out)],
            out,
            mode=mode,
            coordinate_transformation_mode="half_pixel",
        )


def conv_transpose(s: State) -> None:
    name, shape = image(s)
    kernel, stride = s.draw(st.integers(1, 3)), s.draw(st.integers(1, 2))
    out = (shape[0], 2, *(stride * (d - 1) + kernel for d in shape[2:]))
    if math.prod(out) <= _MAX_SIZE:
        s.add("ConvTranspose", [name, s.weight((shape[1], 2, kernel, kernel))], out, strides=[stride] * 2)


def clip_where(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    s.weights[f"c{len(s.weights)}"] = np.array(-0.5, np.float32)
    low = list(s.weights)[-1]
    test = f"v{len(s.nodes)}"
    s.nodes.append(helper.make_node("Greater", [name, low], [test], f"n{len(s.nodes)}_Greater"))
    s.add("Where", [test, name, low], shape)


def attention(s: State) -> None:
    """Self-attention with 1 to 3 heads as exporters write it: one product, split, heads, two products."""
    name, shape = s.pick(lambda o: len(o) == 3 and o[1] > 1) or (None, ())
    if not name:
        return
    heads, dim = s.draw(st.integers(1, 3)), s.draw(st.integers(1, 5))
    batch, tokens, width = shape
    full = (batch, tokens, 3, heads, dim)
    s.add("MatMul", [name, s.weight((width, 3 * heads * dim))], (batch, tokens, 3 * heads * dim))
    s.add("Reshape", [s.values[-1][0], s.ints(*full)], full)
    s.add("Transpose", [s.values[-1][0]], (3, batch, heads, tokens, dim), perm=[2, 0, 3, 1, 4])
    packed, three = s.values[-1][0], []
    for i in range(3):
        s.weights[f"i{len(s.weights)}"] = np.array(i, np.int64)
        three.append(s.add("Gather", [packed, list(s.weights)[-1]], (batch, heads, tokens, dim), axis=0))
    s.add("Transpose", [three[1]], (batch, heads, dim, tokens), perm=[0, 1, 3, 2])
    s.add("MatMul", [three[0], s.values[-1][0]], (batch, heads, tokens, tokens))
    if s.draw(st.booleans()):
        s.add("Add", [s.values[-1][0], s.weight((1, heads, tokens, tokens))], s.values[-1][1])
    s.add("Softmax", [s.values[-1][0]], s.values[-1][1], axis=-1)
    s.add("MatMul", [s.values[-1][0], three[2]], (batch, heads, tokens, dim))
    s.add("Transpose", [s.values[-1][0]], (batch, tokens, heads, dim), perm=[0, 2, 1, 3])
    s.add("Reshape", [s.values[-1][0], s.ints(batch, tokens, heads * dim)], (batch, tokens, heads * dim))


def instance_norm(s: State) -> None:
    name, shape = image(s)
    inputs = [name, s.weight((shape[1],)), s.weight((shape[1],))]
    s.add("InstanceNormalization", inputs, shape, epsilon=0.01)


def mirror_pad(s: State) -> None:
    name, shape = s.pick() or s.values[0]
    amounts = [s.draw(st.integers(0, min(2, d - 1))) for d in shape * 2]
    out = tuple(d + amounts[i] + amounts[len(shape) + i] for i, d in enumerate(shape))
    if math.prod(out) <= _MAX_SIZE:
        mode = s.draw(st.sampled_from(["reflect", "edge"]))
        s.add("Pad", [name, s.ints(*amounts)], out, mode=mode)


def roll(s: State) -> None:
    """A rotation written as exporters do: two slices, swapped."""
    found = s.pick(lambda o: max(o) > 1)
    if not found:
        return
    name, shape = found
    axis = s.draw(st.sampled_from([i for i, d in enumerate(shape) if d > 1]))
    by = s.draw(st.integers(1, shape[axis] - 1))
    parts = []
    for low, high in ((by, shape[axis]), (0, by)):
        out = (*shape[:axis], high - low, *shape[axis + 1 :])
        parts.append(s.add("Slice", [name, s.ints(low), s.ints(high), s.ints(axis), s.ints(1)], out))
    s.add("Concat", parts, shape, axis=axis)


def class_token(s: State) -> None:
    """A constant row before the others, then a position table."""
    name, shape = s.pick(lambda o: len(o) == 3) or (None, ())
    if name and math.prod(shape) <= _MAX_SIZE // 2:
        out = (shape[0], shape[1] + 1, shape[2])
        s.add("Concat", [s.weight((shape[0], 1, shape[2])), name], out, axis=1)
        s.add("Add", [s.values[-1][0], s.weight((1, *out[1:]))], out)


VIEWS = [transpose, transpose, reshape, reshape, slice_, concat, split, expand, gather, pad, mirror_pad, roll]
VIEWS += [space_to_depth, class_token]
PRODUCTS = [matmul_weight, matmul_values, attention, conv, pool, softmax, layer_norm, instance_norm, reduce]
PRODUCTS += [conv_transpose, resize, binary_weight, binary_values, unary]
STEPS = [unary, binary_weight, binary_values, transpose, reshape, slice_, concat, split, expand, gather, pad]
STEPS += [matmul_weight, matmul_values, softmax, layer_norm, reduce, conv, pool, global_pool, space_to_depth]
STEPS += [attention, instance_norm, mirror_pad, roll, class_token]
STEPS += [resize, conv_transpose, clip_where, transpose, reshape, slice_, matmul_weight, binary_weight]


@st.composite
def models(draw: Draw, max_nodes: int = 10) -> onnx.ModelProto:
    """A model of one or two float32 inputs whose every unread value is an output."""
    s = State(draw)
    shapes = draw(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=2))
    s.values = [(f"x{i}", tuple(shape)) for i, shape in enumerate(shapes)]
    inputs = list(s.values)
    for _ in range(draw(st.integers(1, max_nodes))):
        draw(st.sampled_from(STEPS))(s)
    return _finished(s, inputs)


@st.composite
def layout_models(draw: Draw, max_nodes: int = 10) -> onnx.ModelProto:
    """Products, convolutions, attention, softmax and norms with chains of layout operators between them.

    One input of rank 3 or 4 with odd sizes and batches above 1; ``max_nodes`` bounds the number of key steps.
    """
    s = State(draw)
    sizes = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 16, 17])
    shape = [draw(st.integers(1, 3)), *(draw(sizes) for _ in range(draw(st.integers(2, 3))))]
    while math.prod(shape) > _MAX_SIZE // 2:
        shape[shape.index(max(shape))] //= 2
    s.values = [("x0", tuple(shape))]
    inputs = list(s.values)
    for _ in range(draw(st.integers(1, max(1, max_nodes // 4)))):
        for _ in range(draw(st.integers(1, 4))):
            draw(st.sampled_from(VIEWS))(s)
        draw(st.sampled_from(PRODUCTS))(s)
    return _finished(s, inputs)


def _finished(s: State, inputs: list[tuple[str, Shape]]) -> onnx.ModelProto:
    read = {i for n in s.nodes for i in n.input}
    outputs = [(v, shape) for v, shape in s.values if v not in read and v not in dict(inputs)]
    outputs = outputs[-3:] or [s.values[-1]]
    graph = helper.make_graph(
        s.nodes,
        "random",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in s.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    return model


def feeds_of(model: onnx.ModelProto, seed: int = 1) -> dict[str, np.ndarray]:
    """Normal inputs."""
    rng = np.random.default_rng(seed)
    return {
        v.name: rng.standard_normal([d.dim_value for d in v.type.tensor_type.shape.dim]).astype(np.float32)
        for v in model.graph.input
    }


def onnxruntime_outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime says, without its own optimizations."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in model.graph.output], session.run(None, feeds)))
