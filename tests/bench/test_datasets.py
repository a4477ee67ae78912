"""Every layout on a tiny tree of the same form; damage, duplicates, leaks, preprocessing."""

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image

from bench.datasets import arrays, base, folders, preprocess
from bench.datasets.registry import open_dataset
from ecp.errors import UsageError
from ecp.model import cifar


def picture(path, colour, size=8, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    fill = colour if mode == "RGB" else colour[0]
    Image.new(mode, (size, size), fill).save(path)


def test_digits_need_no_download_and_are_complete():
    data = open_dataset("digits", None, "all")
    assert (len(data.items), len(data.classes), data.expected) == (1797, 10, 1797)
    assert data.items[0].label == 0
    assert np.asarray(data.items[0].picture()).shape == (8, 8, 3)
    assert np.asarray(data.items[0].picture()).max() == 239
    assert data.content == open_dataset("digits", None, "all").content


def test_digits_are_scored_on_what_training_does_not_see():
    from ecp.model.training import config
    from ecp.model.training import data as training

    found = training.load(config.DataConfig(kind="digits"))
    for split, theirs in (("train", found.train), (None, found.test)):
        ours = open_dataset("digits", None, split)
        assert [i.label for i in ours.items] == theirs.labels
        pictures = zip(ours.items, theirs.images, strict=True)
        assert all(np.array_equal(np.asarray(i.picture()), pixels) for i, pixels in pictures)
    assert open_dataset("digits", None, None).split == "test"
    with pytest.raises(UsageError, match="digits has the splits test, train, all, not 'val'"):
        open_dataset("digits", None, "val")


def test_image_folder_numbers_sorted_classes_and_takes_the_evaluation_split(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / split / "zebra/1.png", (1, 2, 3))
        picture(tmp_path / split / "ant/2.PNG", (4, 5, 6))
        (tmp_path / split / "ant/notes.txt").write_text("no picture")
    data = folders.image_folder(tmp_path)
    assert (data.split, data.classes) == ("val", ("ant", "zebra"))
    assert [(i.name, i.label) for i in data.items] == [("ant/2.PNG", 0), ("zebra/1.png", 1)]
    assert folders.image_folder(tmp_path, "train").split == "train"
    with pytest.raises(base.DatasetError, match="no split 'tset'; it has train, val"):
        folders.image_folder(tmp_path, "tset")


def test_content_hash_sees_bytes_and_labels(tmp_path):
    picture(tmp_path / "a/1.png", (1, 1, 1))
    picture(tmp_path / "b/2.png", (2, 2, 2))
    first = folders.image_folder(tmp_path).content
    picture(tmp_path / "b/2.png", (3, 3, 3))
    assert folders.image_folder(tmp_path).content != first


def test_a_picture_under_two_classes_is_left_out_and_told(tmp_path):
    picture(tmp_path / "a/1.png", (9, 9, 9))
    picture(tmp_path / "b/2.png", (9, 9, 9))
    picture(tmp_path / "b/3.png", (1, 1, 1))
    data = folders.image_folder(tmp_path)
    assert [i.name for i in data.items] == ["b/3.png"]
    assert data.notes == ("2 pictures left out: the same bytes stand under two classes",)


@pytest.fixture
def tiny(tmp_path):
    """The published layout with 3 classes and 6 validation pictures, one of them also a training picture."""
    root = tmp_path / "tiny-imagenet-200"
    ids = ["n03", "n01", "n02"]
    rows = []
    for n in range(6):
        mode = "L" if n == 5 else "RGB"
        picture(root / f"val/images/val_{n}.JPEG", (40 * n, 10, 200), 64, mode)
        rows.append(f"val_{n}.JPEG\t{ids[n % 3]}\t0\t0\t62\t62")
    (root / "val/val_annotations.txt").write_text("\n".join(rows) + "\n")
    (root / "wnids.txt").write_text("\n".join(ids))
    leaked = (root / "val/images/val_2.JPEG").read_bytes()
    (root / "train/n02/images").mkdir(parents=True)
    (root / "train/n02/images/x.JPEG").write_bytes(leaked)
    return root


def test_tiny_imagenet_as_published(tiny):
    data = open_dataset("tiny-imagenet-200", tiny, None)
    assert data.classes == ("n01", "n02", "n03")
    assert [(i.name[-6:-5], i.label) for i in data.items] == [
        ("0", 2),
        ("1", 0),
        ("3", 2),
        ("4", 0),
        ("5", 1),
    ]
    assert "1 pictures left out: the same bytes stand in the training folder" in data.notes
    assert "3 classes, Tiny-ImageNet has 200" in data.problems
    assert "6 pictures, a complete copy has 10000" in data.problems
    grey = data.items[-1].picture()
    assert grey.mode == "RGB"


def test_tiny_imagenet_with_missing_pictures_and_damaged_annotations(tiny):
    (tiny / "val/images/val_4.JPEG").unlink()
    data = open_dataset("tiny-imagenet-200", tiny, None)
    assert any("1 annotated pictures are missing, the first val_4.JPEG" in p for p in data.problems)
    with (tiny / "val/val_annotations.txt").open("a") as stream:
        stream.write("val_6.JPEG\n")
    with pytest.raises(base.DatasetError, match="damaged"):
        open_dataset("tiny-imagenet-200", tiny, None)


def test_imagenet_1k_is_checked_by_count_and_synset_names(tmp_path):
    picture(tmp_path / "val/n01440764/a.JPEG", (1, 1, 1))
    picture(tmp_path / "val/dogs/b.JPEG", (2, 2, 2))
    problems = " ".join(open_dataset("imagenet-1k", tmp_path, None).problems)
    assert "2 class folders, ImageNet-1K has 1000" in problems
    assert "not synsets: dogs" in problems
    assert "2 pictures, a complete copy has 50000" in problems


@pytest.fixture
def write_cifar(monkeypatch):
    """Write a small file of CIFAR's form and let its MD5 pass for the published one."""

    def write(folder, name, split, file, count=7):
        layout = cifar.LAYOUTS[name]
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = [int(v) for v in rng.integers(0, 10, count)]
        folder.mkdir(parents=True, exist_ok=True)
        content = pickle.dumps({"data": pixels, layout.labels: labels}, protocol=2)
        (folder / file).write_bytes(content)
        monkeypatch.setitem(layout.files, split, {file: hashlib.md5(content).hexdigest()})
        return pixels, labels

    return write


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [("cifar10", "cifar-10-batches-py", "test_batch"), ("cifar100", "cifar-100-python", "test")],
)
def test_cifar_layout(tmp_path, write_cifar, name, folder, file):
    pixels, labels = write_cifar(tmp_path / folder, name, "test", file)
    data = open_dataset(name, tmp_path, None)
    assert [i.label for i in data.items] == labels and data.expected == 10_000
    shown = np.asarray(data.items[2].picture())
    assert (shown[1, 5] == pixels[2].reshape(3, 32, 32)[:, 1, 5]).all()
    assert open_dataset(name, tmp_path / folder, None).content == data.content
    with pytest.raises(base.DatasetError, match="splits test and train, not 'val'"):
        open_dataset(name, tmp_path, "val")


def test_a_file_that_is_not_the_published_one_is_not_read(tmp_path, write_cifar, monkeypatch):
    write_cifar(tmp_path / "cifar-10-batches-py", "cifar10", "test", "test_batch")
    file = tmp_path / "cifar-10-batches-py/test_batch"
    file.write_bytes(file.read_bytes() + b"x")
    monkeypatch.setattr(cifar, "parse", lambda *_: pytest.fail("it was read"))
    with pytest.raises(base.DatasetError, match=r"has MD5 .* nothing of it was read"):
        open_dataset("cifar10", tmp_path, None)


def test_stl10_is_column_major_and_labels_start_at_zero(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (4, 3, 96, 96), dtype=np.uint8)
    (tmp_path / "stl10_binary").mkdir()
    (tmp_path / "stl10_binary/test_X.bin").write_bytes(pixels.tobytes())
    (tmp_path / "stl10_binary/test_y.bin").write_bytes(bytes([1, 10, 3, 4]))
    with pytest.raises(base.DatasetError, match=r"test_X\.bin has MD5"):
        open_dataset("stl10", tmp_path, None)
    monkeypatch.setattr(arrays, "_check_md5", lambda *_: None)
    data = open_dataset("stl10", tmp_path, None)
    assert [i.label for i in data.items] == [0, 9, 2, 3]
    # Row 7, column 11 of the picture lies at [11, 7] in the file.
    assert (np.asarray(data.items[1].picture())[7, 11] == pixels[1, :, 11, 7]).all()
    (tmp_path / "stl10_binary/test_y.bin").write_bytes(bytes([1]))
    with pytest.raises(base.DatasetError, match="do not belong together"):
        open_dataset("stl10", tmp_path, None)


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("cifar11", None, "did you mean cifar10"),
        ("stl10", None, "needs its folder"),
        ("stl10", "nowhere", "is not a folder"),
        ("cifar10", ".", "holds no cifar-10-batches-py/test_batch"),
        ("imagefolder", ".", "holds no pictures in class folders"),
        ("digits", ".", "takes no --data"),
        ("tiny-imagenet", None, "tiny-imagenet-200 needs its folder"),
        ("imagenet", None, "imagenet-1k needs its folder"),
    ],
)
def test_wrong_requests_say_what_to_do(tmp_path, name, path, said):
    with pytest.raises(UsageError, match=said):
        open_dataset(name, path and tmp_path / path, None)


def test_a_damaged_picture_is_named(tmp_path):
    picture(tmp_path / "a/good.png", (1, 2, 3))
    whole = (tmp_path / "a/good.png").read_bytes()
    (tmp_path / "a/bad.png").write_bytes(whole[: len(whole) // 2])
    data = folders.image_folder(tmp_path)
    with pytest.raises(base.CorruptImage, match=r"bad\.png"):
        data.items[0].picture()


def test_small_pictures_are_enlarged_whole_and_large_ones_cropped_in_the_centre():
    corner = np.zeros((8, 8, 3), np.uint8)
    corner[0, 0] = 255
    grown = preprocess.to_input(Image.fromarray(corner), 32, (0, 0, 0), (1, 1, 1))
    assert grown.shape == (3, 32, 32)
    assert grown[0, 0, 0] > 0.9
    large = np.zeros((400, 600, 3), np.uint8)
    large[:, 280:320] = 255
    cut = preprocess.to_input(Image.fromarray(large), 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert cut.shape == (3, 224, 224)
    assert cut[0, 112, 112] == pytest.approx(1.0, abs=0.02)
    assert cut[0, 112, 0] == pytest.approx(-1.0, abs=0.02)


def test_subset_is_seeded_and_in_order():
    items = tuple(range(100))
    assert base.subset(items, 10, 1) == base.subset(items, 10, 1)
    assert list(base.subset(items, 10, 1)) == sorted(base.subset(items, 10, 1))
    assert base.subset(items, 10, 1) != base.subset(items, 10, 2)
    assert base.subset(items, None, 1) == items


def test_items_reach_another_process_as_they_are(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 255, (2, 6, 5, 3), dtype=np.uint8)
    picture(tmp_path / "a.png", (7, 8, 9))
    items = [
        base.Item("x#0", 3, drawn[0]),
        base.Item("a", 1, tmp_path / "a.png"),
        base.Item("x#1", 0, drawn[1]),
    ]
    base.write_items(items, tmp_path / "items")
    assert {f.name for f in (tmp_path / "items").iterdir()} == {"items.json", "pixels.npy"}
    found = base.read_items(tmp_path / "items")
    assert [(i.name, i.label) for i in found] == [("x#0", 3), ("a", 1), ("x#1", 0)]
    for mine, theirs in zip(found, items, strict=True):
        assert np.array_equal(np.asarray(mine.picture()), np.asarray(theirs.picture()))


def test_tiny_imagenet_reads_nothing_outside_its_folder(tmp_path):
    picture(tmp_path / "secret.png", (1, 2, 3))
    (tmp_path / "tiny/val/images").mkdir(parents=True)
    (tmp_path / "tiny/val/val_annotations.txt").write_text("../../../secret.png\tn01\t0\t0\t8\t8\n")
    with pytest.raises(base.DatasetError, match="not a file of val/images"):
        open_dataset("tiny-imagenet-200", tmp_path / "tiny", None)
