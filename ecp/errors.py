"""Errors a user can cause, each a clear sentence and an exit code; programmers' errors stay plain exceptions."""

from __future__ import annotations


class EcpError(Exception):
    """Base of every error that a command prints as one line instead of a traceback.

    ``exit_code``: 1 a measurement or compilation failed, 2 bad usage or input, 3 device not reachable.
    """

    exit_code = 1


class UsageError(EcpError):
    """Bad usage or an unknown name."""

    exit_code = 2


class ModelError(UsageError):
    """The model file cannot be read: corrupt, truncated, NaN weights, unknown dimension."""


class UnsupportedOperatorError(ModelError):
    """The model uses an operator (or a form of one) that the compiler does not have."""


class InputError(UsageError):
    """A feed has the wrong name, shape or dtype."""


class IndexRangeError(InputError):
    """A run-time index outside its axis: ``node`` reads ``size`` elements by ``value`` of the tensor ``index``."""

    def __init__(self, node: str, index: str, size: int, value: int):
        super().__init__(f"node '{node}': index {value} in '{index}' is outside [{-size}, {size - 1}]")


class DeviceError(EcpError):
    """A device is not present or not reachable."""

    exit_code = 3


class BuildError(EcpError):
    """An OpenCL program did not build; the message holds the compiler's log and the kernel's file."""


class BundleError(UsageError):
    """A bundle folder is damaged, incomplete or of another format version."""


class VerifyError(AssertionError):
    """A graph broke an invariant of the IR: always a bug in a pass."""
