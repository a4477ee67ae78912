"""Data folders: the published layouts on tiny trees, and everything that can be wrong with them."""

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image

from ecp.errors import UsageError
from ecp.model import cifar
from ecp.model.training import data
from ecp.model.training.config import DataConfig

CLASSES = ["n01", "n02"]


def picture(path, seed, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path):
    """ImageNet's layout: two classes, three training and two validation images each."""
    for c, name in enumerate(CLASSES):
        for i in range(3):
            picture(tmp_path / "train" / name / f"{i}.JPEG", 10 * c + i)
        for i in range(2):
            picture(tmp_path / "val" / name / f"v{i}.png", 100 + 10 * c + i)
    return tmp_path


@pytest.fixture
def tiny(tmp_path):
    """Tiny-ImageNet-200's layout with two classes; one greyscale image, one test image also in train."""
    tmp_path = tmp_path / "tiny"
    tmp_path.mkdir()
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    for c, name in enumerate(CLASSES):
        for i in range(3):
            picture(tmp_path / f"train/{name}/images/{name}_{i}.JPEG", 10 * c + i, "L" if i == 0 else "RGB")
    lines = []
    for i, name in enumerate(["n02", "n01", "n02"]):
        picture(tmp_path / f"val/images/val_{i}.JPEG", 50 + i)
        lines.append(f"val_{i}.JPEG\t{name}\t0\t0\t8\t8")
    leaked = tmp_path / "val/images/val_2.JPEG"
    leaked.write_bytes((tmp_path / "train/n01/images/n01_1.JPEG").read_bytes())
    (tmp_path / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def load(kind, path, **options):
    return data.load(DataConfig(kind=kind, path=path, **options))


def test_image_folder(folder):
    found = load("imagefolder", folder)
    assert found.classes == CLASSES and found.train.labels == [0, 0, 0, 1, 1, 1]
    assert len(found.test.labels) == 4 and found.hashed == "content"
    image, label = data.Images(found.train, 16, [0.5] * 3, [0.5] * 3)[5]
    assert image.shape == (3, 16, 16) and label == 1


def test_tiny_imagenet_drops_the_leak_and_reads_greyscale(tiny):
    found = load("tiny-imagenet", tiny)
    assert found.classes == CLASSES and found.test.labels == [1, 0]
    assert found.notes["test_images_in_train_dropped"] == 1
    image, _ = data.Images(found.train, 8, [0.0] * 3, [1.0] * 3)[0]
    assert image.shape[0] == 3 and bool((image[0] == image[1]).all())


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_cifar_layout(tmp_path, monkeypatch, kind):
    layout = cifar.LAYOUTS[kind]
    base = tmp_path / layout.folder
    base.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (4, 3072), dtype=np.uint8)
    for split, files in layout.files.items():
        for name in files:
            data = {"data": pixels + len(name) + len(split), layout.labels: [0, 1, 2, 3]}
            names = {layout.names: [f"class {i}" for i in range(10)]}
            content = pickle.dumps(names if split == "meta" else data, protocol=2)
            (base / name).write_bytes(content)
            monkeypatch.setitem(layout.files[split], name, hashlib.md5(content).hexdigest())
    found = load(kind, tmp_path)
    assert len(found.train.labels) == 4 * len(layout.files["train"]) and found.classes[9] == "class 9"
    assert data_images(found)[3][1] == 3
    (base / next(iter(layout.files["train"]))).write_bytes(b"other")
    with pytest.raises(UsageError, match="nothing of it was read"):
        load(kind, tmp_path)


def data_images(found):
    return data.Images(found.train, 32, [0.5] * 3, [0.5] * 3)


def test_torchvision_stl_layout(tmp_path, monkeypatch):
    from torchvision import datasets

    base = tmp_path / "stl10_binary"
    base.mkdir()
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        random.integers(0, 255, (4, 3 * 96 * 96), dtype=np.uint8).tofile(base / f"{split}_X.bin")
        np.array([1, 2, 3, 10], dtype=np.uint8).tofile(base / f"{split}_y.bin")
    (base / "class_names.txt").write_text("\n".join("abcdefghij"))
    (base / "fold_indices.txt").write_text("0 1\n")
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    found = load("stl10", tmp_path)
    assert found.train.labels == [0, 1, 2, 9] and found.train.images[0].shape == (96, 96, 3)


def test_hash_sees_content_and_labels(folder):
    first = load("imagefolder", folder).sha256
    assert load("imagefolder", folder).sha256 == first
    picture(folder / "train/n01/0.JPEG", 77)
    assert load("imagefolder", folder).sha256 != first


def test_subset_by_seed(folder):
    found = load("imagefolder", folder, per_class=2)
    assert found.train.labels == [0, 0, 1, 1] and len(found.test.labels) == 4


@pytest.mark.parametrize("kind", ["imagefolder", "tiny-imagenet", "cifar10", "cifar100", "stl10"])
def test_wrong_layout_is_one_sentence(kind, tmp_path):
    with pytest.raises(UsageError, match=r"layout"):
        load(kind, tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        load(kind, tmp_path / "absent")
    with pytest.raises(UsageError, match=r"data\.path is not set"):
        load(kind, None)


def test_missing_classes(folder, tiny):
    for file in (folder / "val/n02").iterdir():
        file.unlink()
    with pytest.raises(UsageError, match="no images"):
        load("imagefolder", folder)
    (folder / "val/n02").rmdir()
    with pytest.raises(UsageError, match="1 classes stand in only one of train and val: n02"):
        load("imagefolder", folder)
    (tiny / "wnids.txt").write_text("n01\nn02\nn03\n")
    with pytest.raises(UsageError, match="1 of 3 classes are missing"):
        load("tiny-imagenet", tiny)
    (tiny / "wnids.txt").write_text("n01\n")
    with pytest.raises(UsageError, match="not in wnids"):
        load("tiny-imagenet", tiny)


def test_corrupt_images_are_named_counted_and_refused_by_default(folder):
    for name in ("train/n01/0.JPEG", "train/n02/1.JPEG"):
        file = folder / name
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UsageError, match=r"2 corrupt training images: .*n01/0\.JPEG.*skip_corrupt"):
        load("imagefolder", folder)
    found = load("imagefolder", folder, skip_corrupt=True)
    assert found.notes["corrupt_skipped"] == 2 and len(found.train.labels) == 4


def test_augmentation_depends_on_seed_epoch_and_index_alone(folder):
    source = load("imagefolder", folder).train
    one = data.Images(source, 8, [0.5] * 3, [0.5] * 3, (0.3, 1.0), True, seed=1)
    first = one[2][0]
    one[0]
    assert bool((one[2][0] == first).all())
    one.epoch = 1
    assert not bool((one[2][0] == first).all())


@pytest.mark.parametrize("shape", [(8, 8), (300, 240), (240, 500)])
def test_images_are_scored_as_the_harness_will_score_the_export(shape):
    from bench.datasets.preprocess import to_input

    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    ours, label = data.Images(data.Source([pixels], [7]), 224, mean, std)[0]
    assert (
        label == 7 and np.abs(ours.numpy() - to_input(Image.fromarray(pixels), 224, mean, std)).max() < 1e-6
    )
