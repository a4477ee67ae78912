"""ONNX operators that are not supported, and why; the importer's message and the documentation use it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import onnx

from ecp.errors import UnsupportedOperatorError
from ecp.frontend.registry import CONVERTERS

# Nodes that a message names of each operator.
SHOWN = 3

_CONTROL = "its control flow is decided at run time, and the compiler needs a fixed order of operators"
_SHAPE = "the shape of its result depends on run-time values, and the compiler needs every shape"
_SEQUENCE = "sequences and optionals are not tensors"
_STRING = "strings are not tensors of numbers"
_RECURRENT = "recurrent networks are outside the scope (vision transformers and CNNs)"
_RANDOM = "its result is random"
_QUANTIZED = "integer arithmetic of quantized models is outside the scope; export in float"
_SIGNAL = "signal processing is outside the scope"
_RARE = "no kernel for it has been written"
_SAMPLED = "no kernel samples at run-time positions yet (RT-DETR, Deformable DETR and Mask2Former do)"
_FOLDED = "no kernel adds overlapping windows yet (VOLO and MobileViTv2 do)"

_GROUPS = {
    _CONTROL: "Loop Scan",
    _SHAPE: "Compress NonMaxSuppression Unique",
    _SEQUENCE: "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SequenceMap SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement",
    _STRING: "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer LabelEncoder",
    _RECURRENT: "RNN LSTM GRU",
    _RANDOM: "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli",
    _QUANTIZED: "ConvInteger MatMulInteger QLinearConv QLinearMatMul DynamicQuantizeLinear",
    _SIGNAL: "DFT STFT MelWeightMatrix HannWindow HammingWindow BlackmanWindow ImageDecoder",
    _RARE: "AffineGrid BitCast CenterCropPad CumProd Det MaxRoiPool MaxUnpool TensorScatter",
    _SAMPLED: "GridSample DeformConv RoiAlign",
    _FOLDED: "Col2Im",
}

#: Operator -> reason.
REASONS: dict[str, str] = {name: reason for reason, group in _GROUPS.items() for name in group.split()}


#: What comes nearest among the operators that are supported.
INSTEAD = {
    "Col2Im": "a ConvTranspose by constant weights of ones computes the same",
    "GridSample": "export the backbone alone, or Resize where the grid is regular",
    "NonMaxSuppression": "export the model without its post-processing",
    "DynamicQuantizeLinear": "QuantizeLinear with constant scales",
    "ConvInteger": "DequantizeLinear and Conv (the QDQ form)",
    "MatMulInteger": "DequantizeLinear and MatMul (the QDQ form)",
    "QLinearConv": "DequantizeLinear and Conv (the QDQ form)",
    "QLinearMatMul": "DequantizeLinear and MatMul (the QDQ form)",
}


def reason(domain: str, operator: str) -> str:
    """Why an operator is not supported, as a clause."""
    if domain not in ("", "ai.onnx"):
        return f"the operator set '{domain}' is not part of the ONNX standard's main set"
    known = REASONS.get(operator)
    if known is None:
        near = difflib.get_close_matches(operator, CONVERTERS, n=1, cutoff=0.8)
        return "it is unknown to this version" + (f" (did you mean {near[0]}?)" if near else "")
    return known + (f"; {INSTEAD[operator]}" if operator in INSTEAD else "")


def unsupported(nodes: Sequence[tuple[onnx.NodeProto, str]], where: str = "") -> UnsupportedOperatorError:
    """The error that names every operator in question with its first nodes (given with their labels)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for node, label in nodes:
        groups.setdefault((node.domain, node.op_type), []).append(label)
    clauses = []
    for (domain, operator), labels in groups.items():
        full = operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"
        more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
        places = f"node{'s' if len(labels) > 1 else ''} {', '.join(map(repr, labels[:SHOWN]))}{more}"
        clauses.append(f"operator {full} ({places}) is not supported: {reason(domain, operator)}")
    return UnsupportedOperatorError((f"{where}: " if where else "") + "; ".join(clauses))
