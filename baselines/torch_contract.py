"""The contract's block as PyTorch source, for adapters that convert from it instead of from ONNX."""

from __future__ import annotations

from typing import Any

import torch

from baselines.contract import HEADS, TOKENS, WIDTH, weights


def torch_module(_name: str) -> Any:
    """The attention block with the same weights; the name of the model is not looked at."""

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.ParameterDict(
                {k: torch.nn.Parameter(torch.from_numpy(v)) for k, v in weights().items()}
            )

        def forward(self, x: Any) -> Any:
            parts = (x @ self.w["qkv"]).reshape(1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            q, k, v = parts.unbind(0)
            attention = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1) @ v
            y = attention.transpose(1, 2).reshape(1, TOKENS, WIDTH) @ self.w["proj"] + x
            return y.mean(1) @ self.w["head"]

    return Block().eval()
