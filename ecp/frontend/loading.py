"""Read an ONNX file that may come from anywhere: every failure is one sentence."""

from __future__ import annotations

import math
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
from onnx import external_data_helper, numpy_helper

from ecp.errors import ModelError
from ecp.frontend import weights
from ecp.frontend.identity import external_file
from ecp.frontend.limits import check_shape

MIN_OPSET = 7
_DTYPES = {"float16", "float32", "float64", "bool"} | {
    f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)
}


def load(source: str | Path | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model with its external data, and a name for messages. Raises :class:`ModelError`."""
    if isinstance(source, onnx.ModelProto):
        return _checked(source, None, source.graph.name or "model"), source.graph.name or "model"
    if isinstance(source, bytes):
        return _checked(_parse(source, "model"), None, "model"), "model"
    path = Path(source)
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: not a file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    return _checked(_parse(data, str(path)), path.parent, str(path)), path.stem


def load_mapped(path: Path) -> tuple[onnx.ModelProto, str, dict[int, np.ndarray]]:
    """:func:`load`, and the bytes of its large initializers by index, left out of the model (:mod:`.weights`)."""
    parts = weights.split(path)
    if parts is None:
        return *load(path), {}
    small, raw = parts
    return _checked(_parse(small, str(path)), path.parent, str(path)), path.stem, raw


def side_files(path: Path) -> list[str]:
    """Names, relative to the model's folder, of the files that hold its external data. OSError, ModelError."""
    parts = weights.split(path)
    model = _parse(parts[0] if parts else path.read_bytes(), str(path))
    tensors = filter(external_data_helper.uses_external_data, external_data_helper._get_all_tensors(model))
    return sorted({e.value for t in tensors for e in t.external_data if e.key == "location"})


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except google.protobuf.message.DecodeError:
        raise ModelError(f"{where}: not an ONNX model, or corrupt or truncated") from None
    return model


def _checked(model: onnx.ModelProto, folder: Path | None, where: str) -> onnx.ModelProto:
    if not model.opset_import or not model.graph.output:
        raise ModelError(
            f"{where}: not an ONNX model, or corrupt or truncated (no operator set or no outputs)"
        )
    for entry in model.opset_import:
        latest = onnx.defs.onnx_opset_version()
        if entry.domain in ("", "ai.onnx") and not MIN_OPSET <= entry.version <= latest:
            raise ModelError(f"{where}: opset {entry.version}; supported are {MIN_OPSET} to {latest}")
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(f"{where}: IR version {model.ir_version}; the newest supported is {onnx.IR_VERSION}")
    if model.graph.sparse_initializer:
        raise ModelError(f"{where}: sparse initializers are not supported; export dense ones")
    for tensor in external_data_helper._get_all_tensors(model):
        if external_data_helper.uses_external_data(tensor):
            _load_external(tensor, folder, where)
    return model


def _load_external(tensor: onnx.TensorProto, folder: Path | None, where: str) -> None:
    """Fill a tensor from its side file, which must lie inside the model's own folder."""
    what = f"{where}: tensor {tensor.name!r}"
    if folder is None:
        raise ModelError(f"{what} has external data; give the model as a path, so that its folder is known")
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    try:
        path = external_file(folder, location)
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        size = path.stat().st_size
    except ModelError as error:
        raise ModelError(f"{what} has external data at {location!r}, {error}") from None
    except (ValueError, OSError):
        raise ModelError(
            f"{what} has external data at {location!r}, which is missing or unreadable"
        ) from None
    length = size - offset if length < 0 else length
    check_shape(tensor.dims, what)
    needed = math.prod(tensor.dims) * np.dtype(dtype_name(tensor.data_type, what)).itemsize
    if length != needed and 0 <= offset <= size - length:
        raise ModelError(f"{what} needs {needed} bytes, {length} are given in external data at {location!r}")
    if offset < 0 or offset + length > size:
        raise ModelError(f"{what}: external data file {location!r} is truncated ({size} bytes)")
    with path.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def dtype_name(elem_type: int, what: str) -> str:
    """Numpy dtype name of an ONNX element type. Raises :class:`ModelError` for those numpy does not have."""
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{what} has no usable element type ({elem_type})") from None
    if dtype.name not in _DTYPES:
        kind = onnx.TensorProto.DataType.Name(elem_type).lower()
        raise ModelError(
            f"{what} has type {kind}; supported are float16/32/64, integers of 8 to 64 bits and bool"
        )
    return dtype.name


def array_of(tensor: onnx.TensorProto, what: str, raw: np.ndarray | None = None) -> np.ndarray:
    """The tensor's values, without NaN. Raises :class:`ModelError` for damaged ones.

    ``raw``: its raw data where they were left out of the tensor.
    """
    dtype = dtype_name(tensor.data_type, what)
    check_shape(tensor.dims, what)
    try:
        if raw is not None and not tensor.HasField("raw_data") and not tensor.HasField("segment"):
            array = raw.view(np.dtype(dtype).newbyteorder("<")).reshape(tensor.dims)
        else:
            array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{what} is corrupt or truncated: {error}") from None
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ModelError(f"{what} contains NaN: export the model again")
    return array.astype(dtype, copy=False)
