"""Conversion: ratio 1.0 is the vanilla model, two products are masked attention, orders do not matter."""

import io
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch

from ecp.errors import UsageError
from ecp.model.attention import cp_attention, masked_attention
from ecp.model.convert import set_masked, to_ecp
from ecp.model.macs import SHAPES, parameters

SMALL = dict(img_size=64, patch_size=16, embed_dim=48, depth=3, num_heads=3, num_classes=10)


def build(name="vit_tiny_patch16_224", dtype=torch.float32, **kw):
    torch.manual_seed(0)
    options = {**SMALL, **kw}
    for key in [k for k, v in options.items() if v is None]:
        del options[key]
    model = timm.create_model(name, **options).eval()
    with torch.no_grad():  # timm starts heads and biases at zero: give every parameter a role
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return model.to(dtype)


def image(dtype=torch.float32, size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype,tol", [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_ratio_one_is_vanilla(name, dtype, tol):
    vit, x = build(name, dtype), image(dtype)
    with torch.no_grad():
        assert (to_ecp(vit, 1.0)(x) - vit(x)).abs().max() <= tol


def test_ratio_one_is_vanilla_at_full_size():
    vit = build(img_size=None, embed_dim=None, depth=None, num_heads=None, num_classes=None)
    x = image(size=224)
    for block in vit.blocks:
        block.attn.fused_attn = False  # the fused kernel's own rounding is 1.5e-6 at this size
    with torch.no_grad():
        assert (to_ecp(vit, 1.0)(x) - vit(x)).abs().max() <= 1e-6


@pytest.mark.parametrize("core", [1, 3, 8, 16, 17])
def test_two_products_equal_masked_attention(core):
    q, k, v = torch.randn(3, 2, 3, 17, 16, dtype=torch.float64)
    is_core = torch.arange(17) < core
    logits = (q @ k.transpose(-2, -1)).masked_fill(~(is_core[:, None] | is_core[None, :]), float("-inf"))
    assert (cp_attention(q, k, v, core) - logits.softmax(-1) @ v).abs().max() <= 1e-12
    mask = is_core[:, None] | is_core[None, :]
    assert (masked_attention(q, k, v, mask) - logits.softmax(-1) @ v).abs().max() <= 1e-12


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("nodes", [None, 5])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_model_forms_agree(name, ratio, nodes):
    model, x = to_ecp(build(name, torch.float64), ratio, nodes=nodes), image(torch.float64)
    with torch.no_grad():
        two = model(x)
        assert (set_masked(model, True)(x) - two).abs().max() <= 1e-12


def test_pruning_changes_the_result():
    vit, x = build(), image()
    with torch.no_grad():
        assert (to_ecp(vit, 0.3)(x) - vit(x)).abs().max() > 1e-3


def test_order_does_not_matter_at_ratio_one():
    vit, x = build(dtype=torch.float64), image(torch.float64)
    order = np.random.default_rng(0).permutation(16)
    with torch.no_grad():
        assert (to_ecp(vit, 1.0, order)(x) - vit(x)).abs().max() <= 1e-12


def test_only_the_core_set_matters_below_one():
    vit, x = build(dtype=torch.float64), image(torch.float64)
    a = [3, 9, 1, 12, *(i for i in range(16) if i not in (3, 9, 1, 12))]
    b = [12, 1, 9, 3, *(i for i in reversed(range(16)) if i not in (3, 9, 1, 12))]
    c = list(range(16))
    with torch.no_grad():
        first, second, other = (to_ecp(vit, 0.25, o)(x) for o in (a, b, c))
    assert (first - second).abs().max() <= 1e-12 < 1e-3 < (first - other).abs().max()


def test_position_embedding_moves_with_its_patch():
    """The permuted model equals the raster model whose mask is permuted instead: pixels alone fail."""
    vit, x = build(dtype=torch.float64), image(torch.float64)
    order = [int(i) for i in np.random.default_rng(3).permutation(16)]
    model = to_ecp(vit, 0.5, order)
    is_core = torch.zeros(17, dtype=torch.bool)
    is_core[0] = True
    is_core[1 + torch.tensor(order[:8])] = True
    reference = set_masked(to_ecp(vit, 1.0), True)
    for block in reference.blocks:
        block.attn.mask = is_core[:, None] | is_core[None, :]
    with torch.no_grad():
        assert (model(x) - reference(x)).abs().max() <= 1e-12


def test_self_loop_is_an_ablation_of_the_masked_form():
    vit, x = build(), image()
    with pytest.raises(UsageError, match="masked=True"):
        to_ecp(vit, 0.5, self_loop=True)
    with torch.no_grad():
        looped, plain = to_ecp(vit, 0.5, self_loop=True, masked=True)(x), to_ecp(vit, 0.5)(x)
    assert (looped - plain).abs().max() > 1e-4


def test_source_model_is_untouched_and_no_parameter_is_added():
    vit = build(img_size=None, embed_dim=None, depth=None, num_heads=None, num_classes=None)
    before = {k: v.clone() for k, v in vit.state_dict().items()}
    model = to_ecp(vit, 0.8)
    assert all(torch.equal(v, before[k]) for k, v in vit.state_dict().items())
    counts = [sum(p.numel() for p in m.parameters()) for m in (vit, model)]
    assert counts[0] == counts[1] == parameters(SHAPES["vit_tiny"])
    assert model.ecp["core_patches"] == 157 and model.ecp["core_order"] == "centre-first (no data)"


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_other_models_are_refused(name):
    with pytest.raises(UsageError, match=r"only timm VisionTransformer|no plain QKV"):
        to_ecp(timm.create_model(name), 0.8)


def export(model, size=64, batch=1):
    buffer = io.BytesIO()
    torch.onnx.export(
        model, (torch.zeros(batch, 3, size, size),), buffer, opset_version=17, dynamo=False,
        input_names=["input"], output_names=["logits"],
    )  # fmt: skip
    return buffer.getvalue()


@pytest.mark.parametrize("ratio,size", [(0.3, 64), (0.8, 96), (1.0, 64)])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_export_is_standard_and_clean(name, ratio, size):
    model = to_ecp(build(name, img_size=size), ratio)
    data = export(model, size)
    graph = onnx.load_from_string(data).graph
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    kinds = [node.op_type for node in graph.node]
    assert {node.domain for node in graph.node} == {""}
    pruned = ratio < 1.0
    assert kinds.count("Softmax") == 3 * (2 if pruned else 1)
    attention = Counter(n.op_type for n in graph.node if "/blocks.0/attn/" in n.name)
    plain = {
        "MatMul": 4,
        "Add": 2,
        "Mul": 1,
        "Reshape": 2,
        "Transpose": 3,
        "Split": 1,
        "Squeeze": 3,
        "Softmax": 1,
    }
    products = {"MatMul": 2, "Transpose": 1, "Slice": 4, "Softmax": 1, "Concat": 1}
    del attention["Constant"]
    assert attention == Counter(plain) + Counter(products if pruned else {})
    tables = {i.name: list(i.dims) for i in graph.initializer}
    gathers = [tables.get(n.input[1]) for n in graph.node if n.op_type == "Gather"]
    patches = (size // 16) ** 2
    assert gathers.count([patches]) == (1 if pruned else 0), "the core order is one Gather, or nothing"
    x = image(size=size)[:1]
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        assert np.abs(session.run(None, {"input": x.numpy()})[0] - model(x).numpy()).max() <= 1e-5
