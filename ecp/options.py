"""The compiler's options, declared once: for its Python functions, its command line, ``--set``, and the cache key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any

from ecp.codegen.schedule import Schedule
from ecp.errors import UsageError
from ecp.precision import ARITHMETICS, PRECISIONS


def _option(default: Any, help: str, **more: Any) -> Any:
    """A field with its help. ``choices``: the texts it takes; ``setting``: it can be given as NAME=VALUE;
    ``identity`` False: what is compiled does not depend on it.
    """
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, slots=True)
class Switches:
    """The four ideas of the compiler, each of which can be switched off."""

    eliminate: bool = _option(
        True, "layout operators become index expressions of their readers", setting=True
    )
    fuse: bool = _option(True, "operators share launches", setting=True)
    layout_choice: bool = _option(
        True, "intermediate tensors get the layout that their readers want", setting=True
    )
    memory_plan: bool = _option(True, "tensors whose lifetimes do not overlap share memory", setting=True)


@dataclass(frozen=True, slots=True)
class CompileOptions(Switches):
    """How a model is compiled. ``schedule`` None: the device's tuned or shipped row."""

    precision: str = _option("fp32", "fp32, or fp16 (half storage, float accumulation)", choices=PRECISIONS)
    arithmetic: str = _option(
        "float",
        "float, or half (fp16 on a GPU with cl_khr_fp16: products multiply in half)",
        choices=ARITHMETICS,
        setting=True,
    )
    dims: Mapping[str, int] | None = _option(None, "values of dynamic dimensions by name")
    schedule: Schedule | None = field(default=None, metadata={"help": "tunable numbers of the kernels"})
    persistent_groups: int | None = _option(
        None,
        "work-groups an NVIDIA device of compute capability 9.0 keeps resident at once; 0: it can run neither the "
        "persistent kernel nor grouped launches",
    )
    name: str = _option("", "the model's name in the bundle", identity=False)
    cache: bool = _option(
        True, "take the bundle from an earlier compile where there is one, and keep this one", identity=False,
        setting=True,
    )  # fmt: skip

    @classmethod
    def of(cls, **named: Any) -> CompileOptions:
        """Options by name. Raises :class:`~ecp.errors.UsageError` for an unknown name, with the nearest known."""
        known = {f.name: f for f in fields(cls)}
        for name, value in named.items():
            if name not in known:
                raise UsageError(f"unknown option {name!r}; {nearest(name, known)}")
            _check(known[name], value)
        return cls(**named)

    def switches(self) -> Switches:
        """The four switches alone."""
        return Switches(**{f.name: getattr(self, f.name) for f in fields(Switches)})

    def identity(self) -> dict[str, Any]:
        """What the compiled bundle depends on, for a cache's key."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("identity", True)}
        schedule = asdict(self.schedule) if self.schedule else None
        return {**told, "dims": dict(self.dims or {}), "schedule": schedule}

    def replaced(self, **changes: Any) -> CompileOptions:
        """A copy with other values."""
        return replace(self, **changes)


SWITCHES = tuple(f.name for f in fields(Switches))
#: Options that ``--set NAME=VALUE`` takes, in order.
SETTINGS = tuple(f.name for f in fields(CompileOptions) if f.metadata.get("setting"))
_FIELDS = {f.name: f for f in fields(CompileOptions)}


def help_of(name: str) -> str:
    """The help text of an option."""
    return str(_FIELDS[name].metadata["help"])


def parse_setting(name: str, text: object, prefix: str = "") -> Any:
    """The value of ``NAME=text``. ``prefix`` goes before the name in words to the user.

    Raises :class:`~ecp.errors.UsageError` for a name that is not in :data:`SETTINGS` or a value of the wrong kind.
    """
    if name not in SETTINGS:
        raise UsageError(f"unknown setting {prefix}{name}={text}; {nearest(name, SETTINGS, prefix)}")
    choices = _FIELDS[name].metadata.get("choices", ("true", "false"))
    value = str(text) if "choices" in _FIELDS[name].metadata else str(text).lower()
    if value not in choices:
        raise UsageError(f"{prefix}{name}={text}: known values are {' and '.join(choices)}")
    return value if "choices" in _FIELDS[name].metadata else value == "true"


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The known names for a message, the nearest one first where one is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(prefix + n for n in names)
    return f"did you mean {prefix}{close[0]}? Known: {listed}" if close else f"known: {listed}"


def _check(option: Field[Any], value: object) -> None:
    """The kinds of value that a type checker does not see: those of a caller's dictionary."""
    choices = option.metadata.get("choices")
    if choices and value not in choices:
        raise UsageError(f"unknown {option.name} {value!r}; known: {', '.join(choices)}")
    if isinstance(option.default, bool) and not isinstance(value, bool):
        raise UsageError(f"option {option.name} is {value!r}; it is True or False")
