"""Training on scikit-learn's digits: learns, resumes bit for bit, runs on two processes, exports what it trained."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bench.cli import main
from bench.train import shortcuts
from ecp.errors import EcpError, UsageError
from ecp.model.convert import to_ecp
from ecp.model.training import build, checkpoint, data, engine
from ecp.model.training.config import load_config

TINY = [
    "data.kind=digits",
    "data.per_class=8",
    "data.workers=0",
    "model.name=vit_tiny_patch16_224",
    "model.image=16",
    "model.options={patch_size: 4, embed_dim: 24, depth: 2, num_heads: 3}",
    "model.core_ratio=0.5",
    "model.core=centre",
    "recipe.epochs=2",
    "recipe.batch=20",
    "recipe.lr=2e-3",
    "recipe.crop=[0.9, 1.0]",
    "recipe.flip=false",
    "device=cpu",
]


def command(*extra):
    return ["train", *(part for item in [*TINY, *extra] for part in ("--set", item))]


def tensors(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One uninterrupted run."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    assert main([*command(), "--out", str(out), "--json", str(out / "r.json")]) == 0
    return out


def test_run_writes_everything_and_the_export_classifies_as_trained(finished):
    summary = json.loads((finished / "r.json").read_text())
    assert {f.name for f in finished.iterdir()} >= {"model.onnx", "curve.png", "core.json", "summary.json"}
    assert summary["core"]["core_patches"] == 8 and summary["data"]["hashed"] == "content"
    assert [e["epoch"] for e in summary["curve"]] == [1, 2]
    assert summary["curve"][1]["loss"] < summary["curve"][0]["loss"]
    props = {p.key: p.value for p in onnx.load(finished / "model.onnx").metadata_props}
    assert json.loads(props["ecp"])["mean"] == summary["mean"]
    config = load_config(None, TINY)
    test = data.Images(data.load(config.data).test, 16, summary["mean"], summary["std"])
    session = onnxruntime.InferenceSession(finished / "model.onnx", providers=["CPUExecutionProvider"])
    hits = [session.run(None, {"input": x[None].numpy()})[0].argmax() == y for x, y in test]
    assert 100 * np.mean(hits) == pytest.approx(summary["top1"], abs=0.3)


def trainer(*extra):
    """A Trainer as the command makes it, without export and curves."""
    config = load_config(None, [*TINY, *extra])
    found = data.load(config.data, config.seed)
    torch.manual_seed(config.seed)
    model = to_ecp(build.dense(config.model, 10), 0.5)
    train = data.Images(found.train, 16, [0.5] * 3, [0.5] * 3, config.recipe.crop, False, config.seed)
    test = data.Images(data.Source(found.test.images[:40], found.test.labels[:40]), 16, [0.5] * 3, [0.5] * 3)
    return engine.Trainer(model, train, test, config, found.sha256, {})


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Checkpoint of an uninterrupted run of 8 steps."""
    out = tmp_path_factory.mktemp("straight")
    trainer().run(out)
    return tensors(out / engine.CHECKPOINT)


@pytest.mark.parametrize("stop_at", [3, 4, 6])
def test_resumed_run_equals_uninterrupted_run(straight, tmp_path, monkeypatch, stop_at):
    """Ctrl-C inside the first epoch, at its end, and inside the second: the same bits in the end."""
    step = engine.Trainer._step

    def interrupting(self, passes):
        if self.progress.step + 1 == stop_at:
            signal.raise_signal(signal.SIGINT)
        return step(self, passes)

    monkeypatch.setattr(engine.Trainer, "_step", interrupting)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {stop_at} of 8"):
        trainer().run(tmp_path)
    monkeypatch.setattr(engine.Trainer, "_step", step)
    again = trainer()
    torch.randn(7)  # whatever happened to the generator meanwhile must not matter
    again.resume(tmp_path / engine.CHECKPOINT)
    assert again.progress.step == stop_at
    again.run(tmp_path)
    ours = tensors(tmp_path / engine.CHECKPOINT)
    assert ours.keys() == straight.keys()
    assert all(torch.equal(ours[name], straight[name]) for name in ours)


def test_ctrl_c_says_where_it_stopped_and_resume_finishes(tmp_path, monkeypatch, capsys):
    step = engine.Trainer._step

    def interrupting(self, passes):
        if self.progress.step == 2:
            signal.raise_signal(signal.SIGINT)
        return step(self, passes)

    monkeypatch.setattr(engine.Trainer, "_step", interrupting)
    assert main([*command(), "--out", str(tmp_path)]) == 130
    assert "stopped after step 3 of 8; the same command with --resume" in capsys.readouterr().err
    monkeypatch.setattr(engine.Trainer, "_step", step)
    assert main([*command(), "--out", str(tmp_path), "--resume"]) == 0
    assert (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    "change,tolerance", [("recipe.accumulate=4", 2e-3), ("recipe.gradient_checkpoint=true", 1e-5)]
)
def test_memory_savers_are_the_same_recipe(straight, tmp_path, change, tolerance):
    trainer(change).run(tmp_path)
    ours = tensors(tmp_path / engine.CHECKPOINT)
    name = "model.blocks.0.mlp.fc1.weight"
    assert (ours[name] - straight[name]).abs().max() < tolerance


@pytest.mark.slow
def test_two_processes_share_a_batch(finished, tmp_path):
    """torchrun with gloo: the first epoch's loss is the single process's to rounding."""
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "bench",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, *command(), "--out", str(tmp_path)], check=True, env=environment, timeout=300)
    ours = json.loads((tmp_path / "summary.json").read_text())["curve"]
    theirs = json.loads((finished / "summary.json").read_text())["curve"]
    assert ours[0]["top1"] == pytest.approx(theirs[0]["top1"], abs=3)
    name = "model.blocks.0.mlp.fc1.weight"
    a, b = tensors(tmp_path / engine.CHECKPOINT)[name], tensors(finished / engine.CHECKPOINT)[name]
    assert (a - b).abs().max() < 2e-3


def test_resume_refuses_another_configuration(finished, tmp_path, capsys):
    assert main([*command(), "--out", str(finished)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main([*command("recipe.lr=1e-3"), "--out", str(finished), "--resume"]) == 2
    assert "another configuration" in capsys.readouterr().err
    assert main([*command(), "--out", str(tmp_path), "--resume"]) == 2
    assert "nothing to resume" in capsys.readouterr().err
    (tmp_path / engine.CHECKPOINT).write_bytes((finished / engine.CHECKPOINT).read_bytes()[:999])
    assert main([*command(), "--out", str(tmp_path), "--resume"]) == 2
    assert "not a checkpoint" in capsys.readouterr().err


def test_out_of_memory_names_the_batch_to_try(tmp_path, monkeypatch, capsys):
    def full(self, passes):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.Trainer, "_step", full)
    assert main([*command(), "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "20 images a pass" in error and "recipe.accumulate=2 (10 a pass" in error and "batch=10" in error


def test_other_failures_are_not_called_out_of_memory(tmp_path, monkeypatch):
    def broken(self, passes):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(engine.Trainer, "_step", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        main([*command(), "--out", str(tmp_path)])


@pytest.mark.parametrize(
    "setting,message",
    [
        ("recipe.epoch=3", "recipe.epoch: Extra inputs"),
        ("recipe.lr=fast", "recipe.lr: Input should be a valid number"),
        ("model.core_ratio=1.5", "less than or equal to 1"),
        ("recipe", "write key=value"),
        ("seed.x=1", ""),
        ("recipe.batch=5000", "larger than the 80 training images"),
        ("recipe.accumulate=7", "does not divide"),
        ("model.name=vit_huge_nonsense", "vit_huge_nonsense"),
        ("model.core=gradcam.json", "not a core order file"),
        ("model.weights=/nowhere.safetensors", "not a safetensors file"),
        ("device=tpu9", "use auto, cpu or cuda"),
    ],
)
def test_bad_configuration(tmp_path, capsys, setting, message):
    assert main([*command(setting), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


def test_head_that_does_not_fit_the_labels(finished, tmp_path):
    state = checkpoint.model_state(finished / engine.CHECKPOINT)
    state = {k: v for k, v in state.items() if not k.startswith("patch_embed.order")}
    save_file(
        {**state, "head.weight": torch.zeros(7, 24), "head.bias": torch.zeros(7)}, tmp_path / "w.safetensors"
    )
    config = load_config(None, [*TINY, f"model.weights={tmp_path / 'w.safetensors'}"])
    with pytest.raises(UsageError, match="head of 7 classes, the data has 10"):
        build.dense(config.model, 10)


def test_grad_cam_core_is_chosen_before_fine_tuning_and_gives_its_arm_no_start():
    config = load_config(None, [*TINY, "model.core=grad-cam", "model.core_images=40"])
    images = data.Images(data.load(config.data).train, 16, [0.5] * 3, [0.5] * 3)
    model = build.dense(config.model, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    order = build.core_order(config.model, model, images, 0)
    assert order.method == "grad-cam" and order.provenance["images"] == 40
    assert order.provenance["class"] == "predicted" and order.provenance["when"] == "before fine-tuning"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_grad_cam_does_not_ask_a_head_that_was_made_anew(finished, tmp_path, monkeypatch):
    """The gradient of a random head's answer would be noise: such a model gets a head fitted on the images first."""
    config = load_config(None, [*TINY, "model.core=grad-cam", "model.core_images=40"]).model
    images = data.Images(data.load(load_config(None, TINY).data).train, 16, [0.5] * 3, [0.5] * 3)

    fitted = []
    ridge = build._with_ridge_head
    monkeypatch.setattr(build, "_with_ridge_head", lambda *given: fitted.append(1) or ridge(*given))

    def head(weights, classes=10):
        asked = config.model_copy(update={"weights": weights})
        fitted.clear()
        said = build.core_order(asked, build.dense(asked, classes), images, 0).provenance["head"]
        assert bool(fitted) == said.startswith("ridge")
        return said

    create = build.timm.create_model
    monkeypatch.setattr(
        build.timm, "create_model", lambda name, pretrained, **more: create(name, pretrained=False, **more)
    )
    assert head("random") == head("timm") == "ridge on the same images", "1000 classes at its source, 10 here"
    assert head("timm", 1000) == "came with the weights"
    kept = build.dense(config, 10).state_dict()
    for name, state in (("whole", kept), ("bare", {k: v for k, v in kept.items() if "head" not in k})):
        save_file(state, tmp_path / f"{name}.safetensors")
    assert head(str(tmp_path / "whole.safetensors")) == "came with the weights"
    assert head(str(tmp_path / "bare.safetensors")) == "ridge on the same images"
    with pytest.raises(UsageError, match="in the order of its core set: start from a dense one"):
        head(str(finished / engine.CHECKPOINT))


def test_only_the_oracle_chooses_on_the_images_that_are_scored():
    config = load_config(None, TINY)
    found = data.load(config.data)
    for core, source in (("grad-cam", found.train), ("oracle (leaky)", found.test)):
        assert build.core_source(config.model.model_copy(update={"core": core}), found) is source


def test_core_patches_per_image_are_trained_like_the_others(tmp_path):
    assert main([*command("model.core=per-image", "recipe.epochs=1"), "--out", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["core"]["method"], summary["core"]["core_patches"]) == ("per-image", 8)
    assert not (tmp_path / "core.json").exists(), "there is no fixed set to save"
    assert "TopK" in {n.op_type for n in onnx.load(tmp_path / "model.onnx").graph.node}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_compiled_export_is_as_accurate_as_the_training_said(finished, tmp_path, monkeypatch, precision):
    """The whole way: training, export, this project's compiler, the harness's own reading of the data set."""
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    asked = ["accuracy", "--models", f"onnx:{finished / 'model.onnx'}", "--backends", "ecp"]
    told = [
        "--device",
        "local-cpu",
        "--precision",
        precision,
        "--out",
        str(tmp_path),
        "--json",
        str(tmp_path / "c"),
    ]
    assert main([*asked, *told]) == 0
    cells = {c["metric"]: c for c in json.loads((tmp_path / "c").read_text())}
    trained = json.loads((finished / "summary.json").read_text())["top1"]
    assert cells["accuracy"]["extra"]["of"] == 397
    assert cells["accuracy"]["value"] == pytest.approx(trained, abs=0.1)
    assert cells["agreement"]["value"] > 99.7


def test_yaml_that_cannot_be_read(tmp_path):
    (tmp_path / "a.yaml").write_text("model: [")
    (tmp_path / "b.yaml").write_text("- 1\n")
    for name, message in (
        ("a", "cannot be read as YAML"),
        ("b", "must be a mapping"),
        ("c", "cannot be read"),
    ):
        with pytest.raises(EcpError, match=message):
            load_config(tmp_path / f"{name}.yaml")


def test_shortcuts_are_the_papers_rows():
    found = shortcuts("ecp_vit_base@0.9", "tiny-imagenet", Path("/d x"))
    config = load_config(None, found)
    assert (config.model.name, config.model.core_ratio) == ("vit_base_patch16_224.augreg_in21k", 0.9)
    assert build.timm.is_model_pretrained(config.model.name), "the paper starts from ImageNet-21K"
    assert (config.data.kind, config.recipe.batch, str(config.data.path)) == ("tiny-imagenet", 128, "/d x")
    assert (config.recipe.epochs, config.recipe.lr, config.recipe.min_lr) == (50, 5e-4, 1e-7)
    assert load_config(None, shortcuts("vit_small", "cifar100", None)).recipe.batch == 256
    assert load_config(None, shortcuts("deit_base", None, None)).model.name == "deit_base_patch16_224"
    assert shortcuts(None, "tiny-imagenet-200", None) == shortcuts(None, "tiny-imagenet", None)
    for model, dataset in (
        ("vit_smal", None),
        ("swin_base", "x"),
        ("onnx:a.onnx", None),
        (None, "imagenet1k"),
    ):
        with pytest.raises(UsageError):
            shortcuts(model, dataset, None)


def test_the_documented_example_is_a_configuration():
    config = load_config(Path(__file__).parents[2] / "docs" / "digits.yaml")
    found = data.load(config.data)
    assert (len(found.train.labels), len(found.test.labels)) == (1400, 397)
    model = build.dense(config.model, len(found.classes))
    assert build.input_size(config.model, model) == 32 and model.patch_embed.num_patches == 64
