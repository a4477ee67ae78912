"""ONNX operators that are not supported, and why; the importer's message and the documentation use it."""

from __future__ import annotations

_CONTROL = "its control flow is decided at run time, and the compiler needs a fixed order of operators"
_SHAPE = "the shape of its result depends on run-time values, and the compiler needs every shape"
_SEQUENCE = "sequences and optionals are not tensors"
_STRING = "strings are not tensors of numbers"
_RECURRENT = "recurrent networks are outside the scope (vision transformers and CNNs)"
_RANDOM = "its result is random"
_QUANTIZED = "integer arithmetic of quantized models is outside the scope; export in float"
_SIGNAL = "signal processing is outside the scope"
_RARE = "no vision transformer or CNN of the registry uses it"

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
    _RARE: "AffineGrid BitCast CenterCropPad Col2Im CumProd DeformConv Det GridSample MaxRoiPool MaxUnpool "
    "RoiAlign TensorScatter",
}

#: Operator -> reason.
REASONS: dict[str, str] = {name: reason for reason, group in _GROUPS.items() for name in group.split()}


def reason(domain: str, operator: str) -> str:
    """Why an operator is not supported, as a clause."""
    if domain not in ("", "ai.onnx"):
        return f"the operator set '{domain}' is not part of the ONNX standard's main set"
    return REASONS.get(operator, "it is unknown to this version")
