"""Core choice: provenance, what the gradient sees, the leak named as such, and the per-image mode."""

import json
import sys

import numpy as np
import onnx
import pytest
import timm
import torch
from PIL import Image

from ecp.errors import UsageError
from ecp.model.corechoice import METHODS, ORACLE, CoreOrder, choose, rollout_maps
from ecp.model.perimage import to_ecp_per_image
from tests.model.test_convert import build, export, image


def batches():
    g = torch.Generator().manual_seed(2)
    return [(torch.randn(4, 3, 64, 64, generator=g), torch.tensor([0, 1, 2, 3]))] * 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_checked_ranking_and_survives_its_file(method, tmp_path):
    order = choose(method, build(), batches(), seed=3)
    assert sorted(order.ranking) == list(range(16)) and order.method == method
    order.save(tmp_path / "core.json")
    assert CoreOrder.load(tmp_path / "core.json") == order


def test_grad_cam_finds_the_patch_that_decides():
    """One patch carries what raises the predicted class's logit; attention is uniform and the MLP silent."""
    vit = build(depth=1)
    block, d = vit.blocks[0], vit.embed_dim
    with torch.no_grad():
        block.attn.qkv.weight[: 2 * d] = 0
        block.mlp.fc2.weight.zero_()
        vit.head.bias[0] = 100.0
        toward = block.attn.qkv.weight[2 * d :].T @ block.attn.proj.weight.T @ vit.head.weight[0]
        vit.pos_embed[:, 1:] = 0
        vit.pos_embed[:, 1 + 6] = 20 * toward / toward.norm()
    order = choose("grad-cam", vit, batches())
    score = np.array(order.scores)
    assert order.ranking[0] == 6 and score[6] > 1.5 * np.delete(score, 6).mean()


def test_only_the_oracle_reads_labels():
    one = batches()
    other = [(x, (y + 1) % 4) for x, y in one]
    assert choose("grad-cam", build(), one).scores == choose("grad-cam", build(), other).scores
    assert choose(ORACLE, build(), one).scores != choose(ORACLE, build(), other).scores


def test_grad_cam_leaves_the_model_trainable():
    vit = build()
    choose("grad-cam", vit, batches())
    assert all(p.requires_grad for p in vit.parameters())


def test_rollout_rows_are_a_distribution():
    maps = rollout_maps(build(), image())
    assert maps.shape == (2, 4, 4) and (maps > 0).all() and (maps.sum((1, 2)) < 1).all()


def test_unknown_method_and_damaged_file(tmp_path):
    with pytest.raises(UsageError, match="unknown core choice 'gradcam': use one of grad-cam"):
        choose("gradcam", build())
    path = tmp_path / "core.json"
    choose("centre", build()).save(path)
    data = json.loads(path.read_text())
    for broken in ({**data, "ranking": [0, 1]}, {**data, "format": "x"}, {"format": data["format"]}):
        path.write_text(json.dumps(broken))
        with pytest.raises(UsageError):
            CoreOrder.load(path)
    with pytest.raises(UsageError, match="no images"):
        choose("rollout", build(), [])


def test_per_image_at_ratio_one_is_vanilla_and_below_follows_the_picture():
    vit, x = build(dtype=torch.float64), image(torch.float64)
    with torch.no_grad():
        assert (to_ecp_per_image(vit, 1.0)(x) - vit(x)).abs().max() <= 1e-12
        model = to_ecp_per_image(vit, 0.25)
        # the same result as a fixed set chosen from the first picture's own scores
        patches = vit.patch_embed(x[:1])
        score = (patches - patches.mean(1, keepdim=True)).square().sum(-1)[0]
        from ecp.model.convert import to_ecp

        fixed = to_ecp(vit, 0.25, score.argsort(descending=True).tolist())
        assert (model(x[:1]) - fixed(x[:1])).abs().max() <= 1e-12
        assert (model(x[1:]) - fixed(x[1:])).abs().max() > 1e-6


def test_per_image_selection_is_in_the_export():
    kinds = [n.op_type for n in onnx.load_from_string(export(to_ecp_per_image(build(), 0.3))).graph.node]
    assert kinds.count("TopK") == 1 and "GatherElements" in kinds


def test_distilled_deit_has_a_per_image_form():
    vit = timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, depth=2).eval()
    with torch.no_grad():
        assert torch.allclose(to_ecp_per_image(vit, 1.0)(image()), vit(image()), atol=1e-5)


def test_figure_leaves_exactly_the_core_bright(tmp_path):
    from ecp.model.corefigure import draw, shade

    order = choose("random", build(), seed=1)
    shown = shade(np.ones((64, 64, 3)), order, 0.25)
    patches = shown.reshape(4, 16, 4, 16, 3).mean((1, 3, 4)).ravel()
    assert sorted(order.ranking[:4]) == np.flatnonzero(patches > 0.9).tolist()
    draw([order, choose("centre", build())], 0.25, [np.ones((64, 64, 3))], tmp_path / "cores.png")
    assert (tmp_path / "cores.png").stat().st_size > 1000
    draw([order], 0.25, [np.ones((64, 64, 3))] * 3, tmp_path / "one.png")
    wide, high = Image.open(tmp_path / "one.png").size
    assert wide > 2 * high, "the images of one set stand side by side, below a title that fits"


def test_missing_grad_cam_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(UsageError, match="grad-cam cannot be used here"):
        choose("grad-cam", build(), batches())
