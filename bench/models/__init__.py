"""The model registry: every network that is measured, and its one ONNX file.

``NAME`` is a registered name, ``timm:NAME`` any timm network, ``onnx:PATH`` any file. Suffixes with ``@``
in any order: a core ratio in [0, 1] for ``ecp_`` names (default 0.8), an image size of 32 or more, a batch as
``bN``: ``ecp_vit_base@0.3``, ``vit_base@384``, ``ecp_vit_base@0.3@384@b8``.

May import torch (only here, in the trainers and in the torch baselines); nothing here measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.models.spec import ModelSpec, names, parse

if TYPE_CHECKING:
    from bench.models.export import ModelInfo, info, onnx_path

__all__ = ["ModelInfo", "ModelSpec", "info", "names", "onnx_path", "parse", "torch_module"]


def __getattr__(name: str) -> Any:
    """The exporter's names, imported when first used: it takes a second, and most callers only check names."""
    if name in ("ModelInfo", "info", "onnx_path"):
        from bench.models import export

        return getattr(export, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def torch_module(name: str) -> Any:
    """The PyTorch module that :func:`onnx_path` exports, in eval mode, with the same weights.

    Raises :class:`~ecp.errors.UsageError` for an unknown name, and for ``onnx:`` files, which have no module.
    """
    from bench.models.build import build

    return build(parse(name))
