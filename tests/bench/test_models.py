"""The model registry: names, facts, and equality of every network with ONNX Runtime through the importer."""

from __future__ import annotations

import numpy as np
import pytest

from bench import models
from bench.models.spec import REGISTRY
from ecp.errors import UsageError
from ecp.frontend.onnx import import_onnx
from ecp.ir.interp import run
from ecp.ir.verify import verify

TINY = ["vit_tiny", "ecp_vit_tiny", "ecp_vit_tiny@0.3@b2", "timm:resnet18@b4@64", "pvt_tiny"]
BIG = sorted(
    {"deit_base", "deit_base_distilled", "beit_base", "swin_tiny", "swin_small", "swin_base", "convit_tiny"}
    | {"poolformer_s12", "tnt_s", "t2t_vit_14", "crossformer_s", "cswin_tiny", "resnet50", "vgg16"}
    | {"vit_small", "vit_base", "ecp_vit_small", "ecp_vit_base", "vit_tiny@384", "ecp_vit_tiny@0.5@512"}
)


@pytest.mark.parametrize("name", [*TINY, *(pytest.param(n, marks=pytest.mark.slow) for n in BIG)])
def test_imports_and_equals_onnxruntime(name: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    path = models.onnx_path(name)
    graph = import_onnx(path)
    verify(graph)
    (value,) = graph.inputs
    feeds = {value: np.random.default_rng(0).standard_normal(graph.types[value].shape).astype(np.float32)}
    (got,) = run(graph, feeds).values()
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, feeds)
    assert want.std() > 0.1, "degenerate weights would hide errors"
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize(
    ("name", "gmacs", "mparams"),
    [("vit_tiny", 1.254, 5.717), ("ecp_vit_tiny", 1.247, 5.717), ("ecp_vit_tiny@0.1", 1.111, 5.717)]
    + [
        pytest.param(*row, marks=pytest.mark.slow)
        for row in [
            ("vit_small", 4.599, 22.051),
            ("vit_base", 17.564, 86.568),
            ("ecp_vit_base@0.1", 16.993, 86.568),
            # the papers' own tables
            ("swin_tiny", 4.5, 28.3),
            ("cswin_tiny", 4.3, 22.3),
            ("t2t_vit_14", 6.1, 21.5),
            ("crossformer_s", 4.9, 30.9),
            ("pvt_tiny", 1.9, 13.2),
            ("tnt_s", 5.2, 23.8),
            ("resnet50", 4.1, 25.6),
            ("vgg16", 15.5, 138.4),
        ]
    ],
)
def test_macs_and_params(name: str, gmacs: float, mparams: float) -> None:
    known = models.info(name)
    digits = len(str(gmacs).partition(".")[2])
    assert round(known.macs / 1e9, digits) == gmacs
    assert round(known.params / 1e6, len(str(mparams).partition(".")[2])) == mparams


def test_module_and_file_have_the_same_weights() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        want = models.torch_module("vit_tiny").double()(torch.from_numpy(x).double()).numpy()
    graph = import_onnx(models.onnx_path("vit_tiny"))
    (got,) = run(graph, {graph.inputs[0]: x}, dtype=np.float64).values()
    assert got.dtype == np.float64
    assert np.abs(got - want).max() < 1e-6  # what is left are the float32 constants that the tracer rounded


def test_file_is_written_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path))
    name = "timm:vit_tiny_patch16_224@32"
    path = models.onnx_path(name)
    stamp = path.stat().st_mtime_ns
    assert models.onnx_path(name) == path and path.stat().st_mtime_ns == stamp
    assert models.info(name).sha256.startswith(path.stem.rpartition("-")[2])
    assert models.info(name).input_shape == (1, 3, 32, 32)
    # a damaged index is exported again, to the same bytes
    next((tmp_path / "models").glob("*.json")).write_text("{")
    assert models.onnx_path(name) == path
    assert not list((tmp_path / "models").glob(".*"))


def test_module_leaves_the_callers_generator_alone() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(7)
    want = torch.rand(3)
    torch.manual_seed(7)
    models.torch_module("timm:vit_tiny_patch16_224@32")
    assert torch.equal(torch.rand(3), want)


def test_suffixes() -> None:
    spec = models.parse("ecp_vit_base@0.3@384@b8")
    assert (spec.core_ratio, spec.size, spec.batch) == (0.3, 384, 8)
    assert models.parse("ecp_vit_tiny").core_ratio == 0.8
    assert models.parse("ecp_vit_tiny@1").core_ratio == 1.0
    assert models.parse("onnx:/a@b/c.onnx").source == "/a@b/c.onnx"
    assert set(models.names()) == set(REGISTRY) and "ecp_deit_base" in models.names()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tinny", "did you mean.*vit_tiny"),
        ("vit_tiny@0.5", "only ecp_ models"),
        ("ecp_vit_tiny@1.5", "not a core ratio"),
        ("vit_tiny@x", "not a core ratio"),
        ("onnx:", "needs a path"),
        ("timm:vit_tinyy_patch16_224", "did you mean.*vit_tiny_patch16_224"),
        ("onnx:/no/such.onnx", "no such file"),
    ],
)
def test_bad_names(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        models.onnx_path(name)
    assert caught.value.exit_code == 2


def test_onnx_file_has_no_module(tmp_path) -> None:
    with pytest.raises(UsageError, match="no PyTorch module"):
        models.torch_module(f"onnx:{tmp_path}/x.onnx")
