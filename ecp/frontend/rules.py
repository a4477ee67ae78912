"""What ONNX's schemas leave open and every runtime's kernels insist on: each rule refuses with a ValueError."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ecp.frontend.registry import NodeContext

# Channels that an LRN looks at: its window is padding that is stored.
_LARGEST = 1 << 12
_PADDING = ("NOTSET", "", "SAME_UPPER", "SAME_LOWER", "VALID")
#: Attributes that are one of a few words.
_WORDS: dict[str, dict[str, Sequence[str]]] = {
    **{op: {"auto_pad": _PADDING} for op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")},
    "DepthToSpace": {"mode": ("DCR", "CRD")},
    "Pad": {"mode": ("constant", "reflect", "edge", "wrap")},
    "Resize": {
        "mode": ("nearest", "linear", "cubic"),
        "coordinate_transformation_mode": (
            "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
            "tf_half_pixel_for_nn", "tf_crop_and_resize",
        ),
        "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
        "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
    },
    "Upsample": {"mode": ("nearest", "linear")},
}  # fmt: skip


def check_rules(c: NodeContext) -> None:
    """Raise ValueError where the node breaks a rule of its operator. ``c``: its attributes, inputs and types."""
    for name, words in _WORDS.get(c.op, {}).items():
        value = c.attr(name, words[0])
        _need(value in words, f"{name} is {value!r}, must be one of {', '.join(filter(None, words))}")
    rule = _RULES.get(c.op)
    if rule is not None:
        rule(c)


def _need(kept: Any, words: str) -> None:
    if not kept:
        raise ValueError(words)


def _convolution(c: NodeContext) -> None:
    weights, group = c.shape(1), c.attr("group", 1)
    kernel = c.attr("kernel_shape") or list(weights[2:])
    _need(list(weights[2:]) == kernel, f"kernel_shape {kernel} does not fit weights {list(weights)}")
    _need(0 not in weights, f"weights {list(weights)} without elements")
    _need(group >= 1, f"group is {group}, must be 1 or more")
    if c.attr("auto_pad", "NOTSET") not in ("NOTSET", ""):
        _need(c.attr("pads") is None, "auto_pad and pads are both given")
    if c.has(2):
        count = weights[0] if c.op == "Conv" else weights[1] * group
        _need(c.shape(2) == (count,), f"bias {list(c.shape(2))}, must be [{count}]")


def _pooling(c: NodeContext) -> None:
    kernel, pads = c.attr("kernel_shape"), c.attr("pads") or []
    if c.attr("auto_pad", "NOTSET") in ("NOTSET", ""):
        _need(all(p < k for p, k in zip(pads, kernel * 2)), f"pads {pads} reach over the kernel {kernel}")


def _transpose(c: NodeContext) -> None:
    perm = c.attr("perm")
    _need(
        perm is None or len(perm) == len(c.shape(0)), f"perm {perm} does not permute {len(c.shape(0))} axes"
    )


def _resize(c: NodeContext) -> None:
    for index in range(1, len(c.inputs)):
        array = c.constant_of(c.inputs[index]) if c.has(index) and index >= len(c.inputs) - 1 else None
        _need(array is None or (array > 0).all(), "scales and sizes must be greater than 0")


def _pad(c: NodeContext) -> None:
    amounts = c.constant_of(c.inputs[1]) if c.has(1) else None
    if c.attr("mode", "constant") != "reflect" or amounts is None or c.has(3):
        return
    reach = [a <= max(n - 1, 0) for a, n in zip(amounts.reshape(-1).tolist(), c.shape(0) * 2)]
    _need(all(reach), f"a reflection of {amounts.tolist()} reaches over {list(c.shape(0))}")


def _one_number(*indices: int) -> Callable[[NodeContext], None]:
    def rule(c: NodeContext) -> None:
        for index in indices:
            if c.has(index):
                size = c.type(index).size
                _need(size == 1, f"input {index} has {size} elements, must be one number")

    return rule


def _one_hot(c: NodeContext) -> None:
    depth = c.constant_of(c.input(1))
    _need(depth is None or (depth.size == 1 and depth.reshape(-1)[0] > 0), "depth must be one number above 0")


def _lrn(c: NodeContext) -> None:
    size = c.attr("size")
    _need(size > 0 and size % 2, f"size is {size}, must be odd and positive")
    if size > _LARGEST:
        raise c.unsupported(f"a window of {size} channels")


def _gemm(c: NodeContext) -> None:
    _need(not c.has(2) or len(c.shape(2)) <= 2, "C has more than two axes")


def _instance(c: NodeContext) -> None:
    wanted = c.shape(0)[1:2]
    _need(c.shape(1) == c.shape(2) == wanted, f"scale and bias must be {list(wanted)}")


_RULES: dict[str, Callable[[NodeContext], None]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pooling),
    "Transpose": _transpose,
    "Resize": _resize,
    "Upsample": _resize,
    "Pad": _pad,
    "Clip": _one_number(1, 2),
    "CumSum": _one_number(1),
    "OneHot": _one_hot,
    "LRN": _lrn,
    "Gemm": _gemm,
    "InstanceNormalization": _instance,
}
