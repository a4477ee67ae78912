"""Recognise a Vision Transformer in a graph, whatever way its exporter spelled it.

The parts are collected by their shapes and order, the embedding and the token order by running the graph's
own prefix, and then the hypothesis is tested: the collected model must compute what the graph computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from ecp.codegen.nvidia_desc import HEAD, VitDesc
from ecp.ir.graph import Graph, Node
from ecp.ir.interp import run
from ecp.passes.layer_norm import layer_norm

TOLERANCE = 1e-4  # of the largest output: fp32 rounding is 1e-6, another form of GELU already 3e-4


@dataclass(frozen=True)
class VitModel:
    """A recognised model.

    ``weights``: ``patch`` [D, C*P*P] and ``add`` [tokens, D] (position, class token and bias), ``order``
    [tokens] (patch of each token, -1 for none), ``blocks.I.{norm1,norm2,qkv,proj,fc1,fc2}.{weight,bias}``,
    ``norm.*``, ``head.*``; products are [out, in]. ``input`` and ``output``: names in the graph.
    """

    desc: VitDesc
    weights: dict[str, np.ndarray]
    input: str
    output: str


class _No(Exception):
    """Why the graph is not a ViT of the supported form."""


def match_vit(graph: Graph) -> VitModel | str:
    """The model in ``graph`` (as imported), or the reason why it is not one the persistent kernel runs."""
    try:
        found = _collect(layer_norm(graph))
        _test(graph, found)
    except _No as why:
        return str(why)
    return found


def _need(condition: bool, why: str) -> None:
    if not condition:
        raise _No(why)


def _collect(graph: Graph) -> VitModel:
    _need(len(graph.inputs) == 1 and len(graph.outputs) == 1, "it has several inputs or outputs")
    shape = graph.types[graph.inputs[0]].shape
    out = graph.types[graph.outputs[0]].shape
    _need(
        len(shape) == 4 and shape[0] == 1 and shape[2] == shape[3],
        f"its input is {list(shape)}, not one square image",
    )
    _need(len(out) == 2 and out[0] == 1, f"its output is {list(out)}, not one row of classes")
    convolutions = [n for n in graph.nodes if n.op == "Conv"]
    _need(len(convolutions) == 1, f"it has {len(convolutions)} convolutions, not one patch embedding")
    kernel = graph.constants.get(convolutions[0].inputs[1], np.zeros(0))
    size = convolutions[0].attrs["strides"][0]
    _need(kernel.shape[1:] == (shape[1], size, size), "its convolution is not a patch embedding")
    norms = [n for n in graph.nodes if n.op == "LayerNormalization"]
    products = [n for n in graph.nodes if n.op == "MatMul" and _is_weight(graph, n.inputs[1])]
    depth = len(norms) // 2
    _need(
        depth > 0 and len(norms) == 2 * depth + 1 and len(products) == 4 * depth + 1,
        f"it has {len(norms)} LayerNorms and {len(products)} products with weights, not 2n+1 and 4n+1",
    )
    weights = _block_weights(graph, norms, products)
    heads, tokens, core = _attention(graph, depth)
    dim = heads * HEAD
    hidden = weights["blocks.0.fc1.weight"].shape[0]
    _check_shapes(weights, depth, dim, hidden, out[1])
    weights["patch"] = kernel.reshape(dim, -1)
    add, order = _embedding(graph, norms[0].inputs[0], weights["patch"], size, tokens)
    weights["add"], weights["order"] = add, order
    _need(bool((order < 0).any()), "it has no class token")
    epsilons = {float(n.attrs["epsilon"]) for n in norms}
    _need(len(epsilons) == 1, "its LayerNorms have different epsilons")
    desc = VitDesc(
        depth, dim, heads, hidden, tokens, core, size, shape[1], shape[2], out[1],
        int(np.argmax(order < 0)), epsilons.pop(),
    )  # fmt: skip
    return VitModel(desc, weights, graph.inputs[0], graph.outputs[0])


def _is_weight(graph: Graph, name: str) -> bool:
    return name in graph.constants and graph.constants[name].ndim == 2


def _block_weights(graph: Graph, norms: list[Node], products: list[Node]) -> dict[str, np.ndarray]:
    """Products in order are qkv, proj, fc1, fc2 of each block and the head; norms likewise."""
    users = graph.consumers()
    weights: dict[str, np.ndarray] = {}
    for index, node in enumerate(products):
        name = (
            f"blocks.{index // 4}.{('qkv', 'proj', 'fc1', 'fc2')[index % 4]}"
            if index < len(products) - 1
            else "head"
        )
        matrix = graph.constants[node.inputs[1]]
        weights[f"{name}.weight"] = np.ascontiguousarray(matrix.T, dtype=np.float32)
        after = users.get(node.output, [])
        other = (
            [i for i in after[0].inputs if i != node.output]
            if len(after) == 1 and after[0].op == "Add"
            else []
        )
        bias = graph.constants.get(other[0]) if other else None
        fits = bias is not None and bias.size == matrix.shape[1]
        weights[f"{name}.bias"] = (
            np.asarray(bias, np.float32).reshape(-1) if fits else np.zeros(matrix.shape[1], np.float32)
        )
    for index, node in enumerate(norms):
        name = f"blocks.{index // 2}.norm{index % 2 + 1}" if index < len(norms) - 1 else "norm"
        size = graph.types[node.inputs[0]].shape[-1]
        for port, (part, default) in enumerate((("weight", np.ones), ("bias", np.zeros)), start=1):
            given = node.inputs[port] if len(node.inputs) > port else ""
            _need(not given or given in graph.constants, "a LayerNorm's scale or shift is computed")
            value = graph.constants[given] if given else default(size)
            weights[f"{name}.{part}"] = np.asarray(value, np.float32).reshape(-1)
    return weights


def _attention(graph: Graph, depth: int) -> tuple[int, int, int]:
    """(heads, tokens, core tokens) from the shapes of the score matrices."""
    scores = [graph.types[n.output].shape for n in graph.nodes if n.op == "Softmax"]
    _need(len(scores) in (depth, 2 * depth), f"it has {len(scores)} softmaxes in {depth} blocks")
    each = len(scores) // depth
    first = scores[:each]
    _need(
        scores == first * depth and all(len(s) == 4 and s[0] == 1 for s in first),
        "its blocks attend in different ways",
    )
    heads, rows, tokens = first[0][1:]
    if each == 1:
        _need(rows == tokens, f"its scores are {rows}x{tokens}")
        return heads, tokens, tokens
    _need(
        first[1] == (1, heads, tokens - rows, rows),
        f"its attention parts are {first}, not core and periphery",
    )
    return heads, tokens, rows


def _check_shapes(weights: Mapping[str, np.ndarray], depth: int, dim: int, hidden: int, classes: int) -> None:
    _need(hidden % 64 == 0, f"its hidden layer has {hidden} units, not a multiple of 64")
    want = {"qkv": (3 * dim, dim), "proj": (dim, dim), "fc1": (hidden, dim), "fc2": (dim, hidden)}
    for index in range(depth):
        for name, shape in want.items():
            got = weights[f"blocks.{index}.{name}.weight"].shape
            _need(got == shape, f"its product {name} is {got}, not {shape} (head size {HEAD})")
    got = weights["head.weight"].shape
    _need(got == (classes, dim), f"its classifier is {got}, not {(classes, dim)}")


def _embedding(
    graph: Graph, value: str, patch: np.ndarray, size: int, tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """(what each token is for a black image [tokens, D], which patch it takes): found by running the prefix."""
    needed, nodes = {value}, []
    for node in reversed(graph.nodes):
        if any(o in needed for o in node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    prefix = graph.with_nodes(nodes[::-1], outputs=(value,))
    name = graph.inputs[0]
    shape = graph.types[name].shape
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    add = run(prefix, {name: np.zeros_like(image)})[value].reshape(-1, patch.shape[0])
    _need(len(add) == tokens, f"its first LayerNorm sees {len(add)} tokens, attention {tokens}")
    moved = run(prefix, {name: image})[value].reshape(add.shape) - add
    rows = patches(image, size) @ patch.T
    scale = float(np.abs(rows).max())
    distance = ((moved[:, None, :] - rows[None, :, :]) ** 2).mean(-1)
    order = np.where(np.abs(moved).max(1) < 1e-4 * scale, -1, distance.argmin(1)).astype(np.int32)
    expected = np.where((order < 0)[:, None], 0.0, rows[order])
    _need(
        bool(np.abs(moved - expected).max() < TOLERANCE * scale), "its tokens are not patches in some order"
    )
    return add, order


def patches(image: np.ndarray, size: int) -> np.ndarray:
    """``[1, C, S, S]`` as rows ``[patches, C*size*size]``, raster order."""
    _, channels, side, _ = image.shape
    grid = side // size
    cut = image[0].reshape(channels, grid, size, grid, size)
    return cut.transpose(1, 3, 0, 2, 4).reshape(grid * grid, channels * size * size)


def reference(desc: VitDesc, w: Mapping[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Logits [classes] of the collected model, in the dtype of ``image`` [1, C, S, S]."""
    kind = image.dtype

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].astype(kind).T + w[f"{name}.bias"].astype(kind)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + kind.type(desc.eps))
        return centred / spread * w[f"{name}.weight"].astype(kind) + w[f"{name}.bias"].astype(kind)

    rows = patches(image, desc.patch) @ w["patch"].astype(kind).T
    x = w["add"].astype(kind) + np.where((w["order"] < 0)[:, None], kind.type(0), rows[w["order"]])
    index = np.arange(desc.tokens)
    unseen = ~((index[:, None] < desc.core) | (index[None, :] < desc.core))
    for layer in range(desc.depth):
        block = f"blocks.{layer}."
        qkv = linear(norm(x, block + "norm1"), block + "qkv").reshape(desc.tokens, 3, desc.heads, HEAD)
        q, k, v = qkv.transpose(1, 2, 0, 3)
        score = np.where(unseen, -np.inf, q @ k.transpose(0, 2, 1) * kind.type(HEAD**-0.5))
        score = np.exp(score - score.max(-1, keepdims=True)).astype(kind)
        mixed = (score / score.sum(-1, keepdims=True)) @ v
        x = x + linear(mixed.transpose(1, 0, 2).reshape(desc.tokens, desc.dim), block + "proj")
        h = linear(norm(x, block + "norm2"), block + "fc1")
        x = x + linear(h * (1 + special.erf(h * kind.type(0.5**0.5))) / 2, block + "fc2")
    return linear(norm(x[desc.row], "norm"), "head")


def _test(graph: Graph, found: VitModel) -> None:
    shape = graph.types[found.input].shape
    image = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    want = run(graph, {found.input: image})[found.output].reshape(-1)
    got = reference(found.desc, found.weights, image)
    error = float(np.abs(got - want).max() / max(float(np.abs(want).max()), 1e-12))
    _need(
        error < TOLERANCE,
        f"it has the parts of a ViT but computes something else (relative error {error:.1e})",
    )
