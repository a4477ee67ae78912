"""One ONNX file per model, exported once, named by its content; what is known about it beside it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx import TensorProto

from bench.models.spec import ModelSpec, parse
from bench.paths import cache_dir
from ecp import checked
from ecp.errors import EcpError, ModelError, UsageError
from ecp.frontend.identity import model_sha256
from ecp.frontend.loading import load
from ecp.frontend.onnx import import_onnx
from ecp.ir.cost import macs

OPSET = 17
_RECIPE = 1
#: What decides a file's content beside the name: a change of any of these exports again.
_DISTRIBUTIONS = ("torch", "timm", "transformers", "vit-pytorch")


#: Networks written here, each in a file of its maker's name.
_OWN_NETWORKS = frozenset({"cswin", "t2t"})


@dataclass(frozen=True)
class ModelInfo:
    """A model as the harness and the reports need it.

    ``macs`` are multiply-accumulates of one run at ``input_shape`` (matrix products and convolutions, counted
    on the ONNX graph); ``params`` are weights and biases. ``weights`` says where the values come from.
    ``mean`` and ``std`` are None where nobody knows them (``onnx:`` files).
    """

    name: str
    family: str
    input_name: str
    input_shape: tuple[int, ...]
    core_ratio: float | None
    macs: int
    params: int
    sha256: str
    weights: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    source: str


def onnx_path(name: str) -> Path:
    """The model's ONNX file (opset 17 for exported ones), exported on first use.

    The file is written atomically into the cache (``$ECP_CACHE`` moves it) and named by its SHA-256.
    Raises :class:`UsageError` for an unknown name or a missing file.
    """
    spec = parse(name)
    if spec.maker == "onnx":
        return _user_file(spec)
    return _cached(spec)[0]


def info(name: str) -> ModelInfo:
    """Facts about a model; exports it if it is not in the cache yet."""
    spec = parse(name)
    if spec.maker == "onnx":
        return _describe(
            spec, _user_file(spec), None, None, weights="from the file", params=_count(_user_file(spec))
        )
    return _cached(spec)[1]


def _user_file(spec: ModelSpec) -> Path:
    path = Path(spec.source).expanduser()
    if not path.is_file():
        raise UsageError(f"{path}: no such file (model '{spec.name}')")
    return path


def _key(spec: ModelSpec) -> str:
    """Hash of everything that decides the exported bytes."""
    versions = []
    for distribution in _DISTRIBUTIONS:
        try:
            versions.append(f"{distribution}={importlib.metadata.version(distribution)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{distribution}=none")
    folder = Path(__file__).parent
    sources = [folder / f"{n}.py" for n in ("build", "weights", *_OWN_NETWORKS.intersection({spec.maker}))]
    if spec.maker == "ecp":
        sources += [
            folder.parents[1] / "ecp" / "model" / f"{n}.py" for n in ("attention", "convert", "graph")
        ]
    digest = hashlib.sha256(repr((_RECIPE, OPSET, spec, versions)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cached(spec: ModelSpec) -> tuple[Path, ModelInfo]:
    folder = cache_dir("models")
    index = folder / f"{_safe(spec.name)}-{_key(spec)}.json"
    found = _kept(folder, index)
    if found is not None:
        return found
    path, known = _export(spec, folder)
    checked.write_json(index, {**asdict(known), "file": path.name})
    return path, known


def _kept(folder: Path, index: Path) -> tuple[Path, ModelInfo] | None:
    """An export of earlier, None where there is none or its file is not what was written."""
    facts = checked.read_json(index)
    try:
        path = folder / facts.pop("file")
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        known = ModelInfo(**tuples)
        if not path.is_symlink() and model_sha256(path) == known.sha256:
            return path, known
    except (OSError, ModelError, AttributeError, KeyError, TypeError):
        pass
    if facts:
        checked.log.warning("%s is not what was exported: it is exported again", index)
    return None


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def _export(spec: ModelSpec, folder: Path) -> tuple[Path, ModelInfo]:
    import torch

    from bench.models.build import build, input_shape, normalisation

    module = build(spec)
    mean, std = normalisation(module)
    example = torch.zeros(*input_shape(spec, module))
    try:
        data = _trace(module, example, folder)
    except (TypeError, RuntimeError):
        # Some networks call torch's fused attention in ways that the tracer cannot follow; timm's own
        # form of the same attention, in plain products, can always be traced.
        data = _trace_plain(spec, example, folder)
    params = sum(p.numel() for p in module.parameters())
    path = folder / f"{_safe(spec.name)}-{hashlib.sha256(data).hexdigest()[:16]}.onnx"
    checked.put(path, data)
    return path, _describe(spec, path, mean, std, weights="random(seed=0)", params=params)


def _trace(module: Any, example: Any, folder: Path) -> bytes:
    import torch

    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
        raw = Path(scratch) / "model.onnx"
        with warnings.catch_warnings(), torch.inference_mode():
            # The tracer warns of every shape that becomes a constant; that is what is wanted here.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                str(raw),
                dynamo=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["logits"],
            )
        return raw.read_bytes()


def _trace_plain(spec: ModelSpec, example: Any, folder: Path) -> bytes:
    from timm.layers import set_fused_attn

    from bench.models.build import build

    set_fused_attn(enable=False)
    try:
        return _trace(build(spec), example, folder)
    except (TypeError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise EcpError(f"model '{spec.name}' cannot be exported by torch.onnx: {first}") from error
    finally:
        set_fused_attn(enable=True)


def _count(path: Path) -> int:
    """Floating initializers of a file: it does not say which of them were trained."""
    model, _ = load(path)
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    return sum(math.prod(t.dims) for t in model.graph.initializer if t.data_type in floats)


def _describe(
    spec: ModelSpec,
    path: Path,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    *,
    weights: str,
    params: int,
) -> ModelInfo:
    graph = import_onnx(path)
    if not graph.inputs:
        raise ModelError(f"{path}: the model has no input")
    first = graph.inputs[0]
    return ModelInfo(
        name=spec.name,
        family=spec.family,
        input_name=first,
        input_shape=graph.types[first].shape,
        core_ratio=spec.core_ratio,
        macs=macs(graph),
        params=params,
        sha256=model_sha256(path),
        weights=weights,
        mean=mean,
        std=std,
        source=spec.source if spec.maker == "onnx" else f"{spec.maker}:{spec.source}",
    )
