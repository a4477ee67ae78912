"""TVM's OpenCL code as a list of launches: source, arguments, work sizes and memory plan, without its runtime.

TVM's wheel generates OpenCL C but cannot run it (its OpenCL runtime is a build option). Everything that the
runtime would need is in the compiled module: memory plan and call order in Relax's ``main`` after TVM's own
lowering passes, launch arguments and extents in the host half of each function, the source in the device half.
This module reads them; :mod:`baselines.tvm_opencl` executes them. Nothing is re-scheduled or re-planned here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from baselines.base import Unsupported
from baselines.output import captured_output
from baselines.tvm_common import import_tvm

GRID = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
BLOCK = ("threadIdx.x", "threadIdx.y", "threadIdx.z")


@dataclass(frozen=True)
class Tensor:
    """A view of memory from its start: ``store`` is ``input:i``, ``const:i``, ``storage:i`` or ``alloc:i``."""

    store: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes stored densely."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Kernel:
    """One device kernel of a function.

    ``arguments``: ``("param", index)``, ``("int", value)`` or ``("scratch:NAME", bytes)``. ``grid`` and
    ``block`` are work-groups and work-items per group in x, y, z.
    """

    name: str
    arguments: tuple[tuple[str, int], ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


@dataclass(frozen=True)
class Call:
    """One step of the model: a function's kernels on tensors, outputs last (destination-passing)."""

    function: str
    tensors: tuple[Tensor, ...]


@dataclass
class Plan:
    """What to upload, allocate and launch. ``functions`` maps a function to its kernels in order."""

    source: str = ""
    functions: dict[str, tuple[Kernel, ...]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)
    stores: dict[str, int] = field(default_factory=dict)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


def opencl_target(attributes: Mapping[str, int]) -> Any:
    """The ``opencl`` target with the device's own limits (``max_num_threads``, ``thread_warp_size``, ...)."""
    tvm = import_tvm()
    return tvm.target.Target({"kind": "opencl", **attributes}, host={"kind": "llvm"})


def compile_plan(mod: Any, target: Any) -> Plan:
    """Lower an imported module with TVM's generic-GPU pipeline (dlight schedules) and read the plan out of it."""
    tvm = import_tvm()
    from tvm import relax
    from tvm.relax.backend.gpu_generic import pipeline as gpu

    lower = [
        *gpu.library_dispatch_passes(target),
        relax.transform.DecomposeOpsForInference(),
        relax.transform.CanonicalizeBindings(),
        *gpu.legalize_passes(target),
        *gpu.dataflow_lower_passes(target),
        relax.transform.StaticPlanBlockMemory(),
        relax.transform.AttachGlobalSymbol(),
    ]
    with captured_output(), target:
        lowered = tvm.transform.Sequential(lower)(mod)
    plan = Plan()
    _read_kernels(tvm, lowered, target, plan)
    _MainReader(tvm, plan).read(lowered["main"])
    return plan


def _read_kernels(tvm: Any, lowered: Any, target: Any, plan: Plan) -> None:
    """Split every function into host and device halves as ``tirx.build`` does, and keep source and launches."""
    from tvm.tirx import get_default_tir_pipeline
    from tvm.tirx import transform as tir_transform
    from tvm.tirx.build import split_host_device_mods

    functions = {
        gv: lowered[gv] for gv in lowered.get_global_vars() if isinstance(lowered[gv], tvm.tirx.PrimFunc)
    }
    pipeline, _host, finalize = get_default_tir_pipeline(target)
    with captured_output(), target:
        host, devices = split_host_device_mods(
            pipeline(tir_transform.BindTarget(target)(tvm.IRModule(functions)))
        )
    parameters = {gv.name_hint: [_name(p) for p in fn.params] for gv, fn in functions.items()}
    for gv in host.get_global_vars():
        kernels = _launches(tvm, host[gv], parameters[gv.name_hint])
        if not kernels:
            raise Unsupported(
                f"tvm-opencl: {gv.name_hint} has work on the host, which this adapter does not run"
            )
        plan.functions[gv.name_hint] = kernels
    build = tvm.get_global_func("target.build.opencl")
    with captured_output():
        plan.source = "\n".join(build(finalize()(m), t).inspect_source() for t, m in devices.items())


def _launches(tvm: Any, function: Any, parameters: list[str]) -> tuple[Kernel, ...]:
    """The ``call_ffi_kernel`` calls of a host function, with buffers named by the function's parameters."""
    from tvm_ffi import structural_walk

    calls: list[Any] = []
    scratch: dict[str, int] = {}

    def on_call(node: Any) -> None:
        if getattr(node.op, "name", "") == "tirx.call_ffi_kernel":
            calls.append(node)

    def on_alloc(node: Any) -> None:
        shape = [int(d) for d in node.buffer.shape]
        scratch[node.buffer.name] = int(np.prod(shape)) * np.dtype(str(node.buffer.dtype)).itemsize

    structural_walk(function.body, [(tvm.ir.Call, on_call), (tvm.tirx.AllocBuffer, on_alloc)])
    if len(set(parameters)) != len(parameters):
        raise Unsupported("tvm-opencl: two parameters of one function have the same name")
    return tuple(_kernel(call, parameters, scratch) for call in calls)


def _kernel(call: Any, parameters: list[str], scratch: Mapping[str, int]) -> Kernel:
    names = [str(p) for p in call.attrs.launch_params]
    if any(n not in GRID + BLOCK for n in names):
        raise Unsupported(f"tvm-opencl: launch parameter {names} is not a work size")
    values = list(call.args)
    extents = {n: int(v) for n, v in zip(names, values[len(values) - len(names) :], strict=True)}
    arguments: list[tuple[str, int]] = []
    for value in values[1 : len(values) - len(names)]:
        name = _name(value.args[0]) if hasattr(value, "args") else ""
        if name in parameters:
            arguments.append(("param", parameters.index(name)))
        elif name in scratch:
            arguments.append((f"scratch:{name}", scratch[name]))
        elif hasattr(value, "value"):
            arguments.append(("int", int(value.value)))
        else:
            raise Unsupported(f"tvm-opencl: kernel argument {value} is not a buffer or a constant")
    size = {n: extents.get(n, 1) for n in GRID + BLOCK}
    return Kernel(
        str(call.args[0].value),
        tuple(arguments),
        (size[GRID[0]], size[GRID[1]], size[GRID[2]]),
        (size[BLOCK[0]], size[BLOCK[1]], size[BLOCK[2]]),
    )


def _name(var: Any) -> str:
    return str(getattr(var, "name_hint", None) or var.name)


class _MainReader:
    """Reads Relax's ``main`` in order: allocations, views, tuples, and calls of functions."""

    def __init__(self, tvm: Any, plan: Plan) -> None:
        self._tvm = tvm
        self._plan = plan
        self._values: dict[Any, Any] = {}

    def read(self, main: Any) -> None:
        plan = self._plan
        for i, parameter in enumerate(main.params):
            tensor = Tensor(f"input:{i}", _shape(parameter.ty.shape), str(parameter.ty.dtype))
            plan.inputs.append(tensor)
            plan.stores[tensor.store] = tensor.nbytes
            self._values[parameter] = tensor
        for block in main.body.blocks:
            for binding in block.bindings:
                self._values[binding.var] = self._value(binding.value)
        result = self._value(main.body.body)
        plan.outputs = list(result) if isinstance(result, tuple) else [result]

    def _value(self, expr: Any) -> Any:
        relax = self._tvm.relax
        if isinstance(expr, relax.Var) or expr in self._values:
            return self._values[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self._value(f) for f in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            return self._value(expr.tuple_value)[int(expr.index)]
        if isinstance(expr, self._tvm.ir.GenericConst):
            return self._constant(expr)
        if isinstance(expr, relax.Call):
            return self._call(expr)
        raise Unsupported(
            f"tvm-opencl: {type(expr).__name__} in the compiled program is not known to this adapter"
        )

    def _constant(self, expr: Any) -> Tensor:
        array = expr.value.numpy()
        store = f"const:{len(self._plan.constants)}"
        self._plan.constants.append(array)
        self._plan.stores[store] = array.nbytes
        return Tensor(store, tuple(array.shape), array.dtype.name)

    def _call(self, call: Any) -> Any:
        tvm, args = self._tvm, call.args
        if isinstance(call.op, tvm.ir.GlobalVar):
            tensors = tuple(self._value(a) for a in args)
            self._plan.calls.append(Call(str(call.op.name_hint), tensors))
            return None
        name = str(call.op.name)
        if name == "relax.memory.alloc_storage":
            store = f"storage:{len(self._plan.stores)}"
            self._plan.stores[store] = int(args[0].values[0])
            return store
        if name == "relax.memory.alloc_tensor":
            if int(args[1].value) != 0:
                raise Unsupported("tvm-opencl: a tensor inside a storage at an offset")
            return Tensor(self._value(args[0]), _shape(args[2]), str(args[3].value))
        if name == "relax.builtin.alloc_tensor":
            store = f"alloc:{len(self._plan.stores)}"
            tensor = Tensor(store, _shape(args[0]), str(args[1].value))
            self._plan.stores[store] = tensor.nbytes
            return tensor
        if name in ("relax.reshape", "relax.memory.view"):
            old = self._value(args[0])
            return Tensor(old.store, _shape(args[1]), old.dtype)
        if name in ("relax.memory.kill_storage", "relax.memory.kill_tensor"):
            return None
        raise Unsupported(f"tvm-opencl: {name} in the compiled program is not known to this adapter")


def _shape(expr: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in expr.values)
