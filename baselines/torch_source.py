"""Converters that start from PyTorch source (LiteRT, ExecuTorch): the same module that the ONNX file came from.

``python -m baselines.torch_source TARGET FACTORY MODEL SHAPES OUT`` runs one converter, in this or another Python
environment; the adapters call it as a process, because these converters need gigabytes and their memory must not
count as the runtime's. Results are cached by the model's content and the converter's version, each beside a JSON
file of what the converter did (its versions, what it gave to the delegate).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from baselines.base import RunConfig, Unavailable, Unsupported
from baselines.common import Interface, cache_dir, derived, first_line
from ecp import checked, children

TIMEOUT_S = 1800
# Part of the cache's path: raise it when a converter below is called differently.
RECIPE = "3"


def converted(
    target: str, onnx_path: Path, interface: Interface, config: RunConfig, python: str, tag: str
) -> tuple[Path, dict[str, Any]]:
    """The model in ``target``'s format (``litert`` or ``executorch``), converted by ``python`` if not cached.

    ``tag`` names the runtime's version; the second value is what the converter said of its work. Raises
    :class:`Unsupported` with the converter's own words.
    """
    factory, model = config.options.get("torch_module"), config.options.get("model")
    if not factory or not model or str(model).startswith("onnx:"):
        raise Unsupported(f"{target} converts from PyTorch source, and an ONNX file carries none")
    shapes = json.dumps([[list(p.shape), p.dtype] for p in interface.inputs])
    facts: dict[str, Any] = {}

    def make(out: Path) -> None:
        _run(
            target,
            [python, "-m", "baselines.torch_source", target, str(factory), str(model), shapes, str(out)],
            out,
        )
        facts.update(json.loads(_facts_file(out).read_text()))
        _facts_file(out).unlink()

    folder = cache_dir(target, f"{tag}-{RECIPE}")
    out = derived(onnx_path, folder, f".{config.precision}.bin", make)
    if facts:
        checked.write_json(_facts_file(out), facts)
    known = facts or checked.read_json(_facts_file(out))
    if known is None:  # damaged, or another process is about to write it
        checked.discard(out)
        return converted(target, onnx_path, interface, config, python, tag)
    return out, known


def _run(target: str, command: list[str], out: Path) -> None:
    """Run a converter that writes ``out``."""
    root = Path(__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    try:
        done = children.run(command, env=environment, timeout_s=TIMEOUT_S)
    except FileNotFoundError as exc:
        raise Unavailable(f"{target}: no Python at {command[0]}") from exc
    except children.TooLate as exc:
        raise Unsupported(f"{target} converter: not done after {TIMEOUT_S} s") from exc
    if done.returncode != 0 or not out.exists():
        raise Unsupported(f"{target} converter: {last_words(done.error_text or done.text)}")


def _facts_file(model: Path) -> Path:
    return model.with_name(f"{model.name}.json")


def last_words(log: str) -> str:
    """The line of a traceback that names the error: the last one that is not indented."""
    lines = [line for line in log.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith((" ", "\t")) and "Error" in line]
    return first_line((told or lines or ["it stopped without a message"])[-1])


def _litert(module: Any, inputs: tuple[Any, ...], out: Path) -> dict[str, Any]:
    import litert_torch

    litert_torch.convert(module, inputs).export(str(out))
    return {"converter": f"litert-torch {version('litert-torch')}"}


def plain_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """``scaled_dot_product_attention`` as the ONNX file has it: products and a softmax, all of which XNNPACK takes.

    PyTorch's own decomposition guards rows that a mask empties (``_safe_softmax``); ExecuTorch runs the guard on its
    portable kernels, which took half of ViT-T's time. Boolean masks become numbers.
    """
    if dropout or causal or enable_gqa:
        raise NotImplementedError("attention with dropout, a causal mask or grouped queries")
    scores = q @ k.transpose(-2, -1) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if mask is not None and mask.dtype is not q.dtype:
        mask = (~mask).to(q.dtype) * -3e38
    return (scores if mask is None else scores + mask).softmax(-1) @ v


def _executorch(module: Any, inputs: tuple[Any, ...], out: Path) -> dict[str, Any]:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    fused = torch.ops.aten.scaled_dot_product_attention.default
    program = torch.export.export(module, inputs).run_decompositions({fused: plain_attention})
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    names = [
        str(getattr(n.target, "__name__", n.target))
        for n in edge.exported_program().graph.nodes
        if n.op == "call_function"
    ]
    left = Counter(n for n in names if n != "getitem" and "executorch_call_delegate" not in n)
    out.write_bytes(edge.to_executorch().buffer)
    return {
        "converter": f"executorch {version('executorch')}",
        "delegated_pieces": sum("executorch_call_delegate" in n for n in names),
        "operators_outside_the_delegate": dict(sorted(left.items())),
    }


def main(argv: list[str]) -> int:
    """Convert one model; see the module's docstring."""
    import torch

    target, factory, model, shapes, out = argv
    package, _, function = factory.partition(":")
    module = getattr(importlib.import_module(package), function)(model).eval()
    inputs = tuple(torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in json.loads(shapes))
    facts = {"litert": _litert, "executorch": _executorch}[target](module, inputs, Path(out))
    _facts_file(Path(out)).write_text(json.dumps({**facts, "torch": torch.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
