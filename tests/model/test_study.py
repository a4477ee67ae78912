"""The study of many arms: equal budgets, real learning on scikit-learn's digits, masks that take effect."""

import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_digits

from ecp.model.convert import to_ecp
from ecp.model.graph import centre_first
from ecp.model.training.study import Arm, Budget, Split, Study, unpack_hits

BUDGET = Budget(epochs=4, batch=64, lr=2e-3, image=16, crop=(0.9, 1.0), head_lr_scale=1.0)


@pytest.fixture(scope="module")
def study():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.from_numpy((digits.images * 15.9).astype(np.uint8))[..., None].expand(-1, -1, -1, 3)
    labels = torch.from_numpy(digits.target).long()
    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=48, depth=2, num_heads=3, num_classes=10
    )
    return Study(
        vit, Split(images[:1400], labels[:1400]), Split(images[1400:], labels[1400:]), [0.3] * 3, [0.4] * 3
    )


def arm(ratio, seed=0):
    return Arm(ratio, "centre", centre_first((4, 4)), seed)


def test_learns_and_repeats_exactly(study):
    first, second = (study.run(arm(0.5), BUDGET) for _ in range(2))
    assert first["finite"] and first["top1"] > 35
    assert first["loss"] == second["loss"] and first["hits"] == second["hits"]
    assert unpack_hits(first).mean() * 100 == pytest.approx(first["top1"])
    assert study.run(arm(0.5, seed=1), BUDGET)["loss"] != first["loss"]


def test_trained_state_gives_the_same_hits_in_two_product_form(study):
    """What is trained masked in raster order is what is exported core-first in two products."""
    hits = unpack_hits(study.run(arm(0.25), BUDGET))
    dense = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=48, depth=2, num_heads=3, num_classes=10
    )
    dense.load_state_dict(study.state())
    exported, plain = to_ecp(dense, 0.25, centre_first((4, 4))).eval(), dense.eval()
    pixels = torch.nn.functional.interpolate(study._pixels(study.test.images), (16, 16), mode="bilinear")
    with torch.no_grad():
        ours = (exported(pixels).argmax(1) == study.test.labels).numpy()
        other = (plain(pixels).argmax(1) == study.test.labels).numpy()
    assert (ours == hits).mean() > 0.995 > (other == hits).mean()
