"""Types of a model's inputs, with values for the dimensions that the file leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from ecp.errors import ModelError
from ecp.frontend.loading import dtype_name
from ecp.ir.graph import Type


def open_dimensions(value: onnx.ValueInfoProto) -> dict[int, tuple[str, ...]]:
    """Axis -> the names that a size may be given by, for the axes without one: its own, ``input[axis]``.

    The first is what messages say: a name such as ``?`` may stand for several sizes and names none.
    """
    found: dict[int, tuple[str, ...]] = {}
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            continue
        place, own = f"{value.name}[{axis}]", dim.dim_param
        found[axis] = (place,) if not own else (place, own) if not own[0].isalnum() else (own, place)
    return found


def input_types(
    values: Sequence[onnx.ValueInfoProto], where: str, dims: Mapping[str, int]
) -> dict[str, Type]:
    """Name -> type. Raises :class:`ModelError`, for all open dimensions at once and for names in ``dims`` unused."""
    types: dict[str, Type] = {}
    unused = set(dims)
    missing: dict[str, tuple[str, int]] = {}
    for value in values:
        what, tensor = f"{where}: input {value.name!r}", value.type.tensor_type
        if not value.name or not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            raise ModelError(f"{what} is not a tensor of known rank")
        shape = [d.dim_value for d in tensor.shape.dim]
        for axis in range(len(shape)):
            names = open_dimensions(value).get(axis, (f"{value.name}[{axis}]",))
            # A size of one place says more than one of a name.
            given = next(
                (n for n in sorted(names, key=lambda n: n != f"{value.name}[{axis}]") if n in dims), None
            )
            if given is not None:
                unused.discard(given)
                if int(dims[given]) < 1:
                    raise ModelError(
                        f"{what}: dimension {given!r} was given {dims[given]}; it must be 1 or more"
                    )
                shape[axis] = int(dims[given])
            elif axis in open_dimensions(value):
                missing.setdefault(names[0], (value.name, axis))
        types[value.name] = Type(tuple(shape), dtype_name(tensor.elem_type, what))
    if missing:
        raise ModelError(f"{where}: {_ask(missing)}")
    if unused:
        raise ModelError(f"{where}: no input has a dynamic dimension named {', '.join(sorted(unused))}")
    return types


def _ask(missing: Mapping[str, tuple[str, int]]) -> str:
    places = ", ".join(
        f"{name!r} (axis {axis} of input {value!r})" for name, (value, axis) in missing.items()
    )
    sizes = {name: 1 if axis == 0 else 224 for name, (_, axis) in missing.items()}
    options = " ".join(f"--dim {name}={size}" for name, size in sizes.items())
    many = "s" if len(missing) > 1 else ""
    return f"dynamic dimension{many} without a value: {places}; give sizes, as in {options} (in Python dims={sizes})"
