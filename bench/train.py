"""``python -m bench train``: fine-tune a dense or ECP Vision Transformer and export it for the harness."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.models.spec import parse
from bench.names import check_name
from ecp.errors import EcpError, UsageError

if TYPE_CHECKING:
    from ecp.model.training.config import TrainConfig

# data set -> layout and the paper's batch size (section 4.1); CIFAR-10 and digits are not in the paper.
# The long names are those of `bench accuracy`.
DATASETS = {
    "imagenet": ("imagefolder", 128),
    "imagenet-1k": ("imagefolder", 128),
    "tiny-imagenet": ("tiny-imagenet", 128),
    "tiny-imagenet-200": ("tiny-imagenet", 128),
    "stl10": ("stl10", 256),
    "cifar100": ("cifar100", 256),
    "cifar10": ("cifar10", 256),
    "digits": ("digits", 128),
}
# timm's plain vit names mean weights that were already fine-tuned on ImageNet-1K; the paper starts from ImageNet-21K.
IMAGENET_21K = ".augreg_in21k"


def register(app: typer.Typer) -> None:
    """Add ``train`` and ``train-study``."""
    from bench.train_study import register as register_study

    app.command(name="train")(train)
    register_study(app)


def train(
    config: Annotated[Path | None, typer.Argument(help="YAML file; without one, the paper's recipe")] = None,
    model: Annotated[str | None, typer.Option(help="vit_tiny ... vit_base, ecp_vit_base@0.9")] = None,
    dataset: Annotated[str | None, typer.Option(help=f"one of {', '.join(DATASETS)}")] = None,
    data: Annotated[Path | None, typer.Option(help="folder of the data set")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="change one value: recipe.epochs=10 (repeatable)")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for checkpoint, curves and ONNX file")] = Path(
        "build/train"
    ),
    resume: Annotated[bool, typer.Option(help="continue the run in --out")] = False,
    json_: Annotated[
        str | None, typer.Option("--json", help="write the result here; - is standard output")
    ] = None,
) -> None:
    """Fine-tune a model; on several GPUs: torchrun --nproc-per-node N -m bench train CONFIG."""
    from ecp.model.training.config import load_config
    from ecp.model.training.engine import CHECKPOINT, Interrupted

    if (out / CHECKPOINT).exists() and not resume:
        raise UsageError(f"{out} already holds a run: add --resume, or choose another --out")
    if resume and not (out / CHECKPOINT).exists():
        raise UsageError(f"{out / CHECKPOINT} is missing: nothing to resume")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from error
    try:
        result = run(load_config(config, [*shortcuts(model, dataset, data), *(set_ or [])]), out, resume)
    except Interrupted as stop:
        typer.echo(f"{stop}; the same command with --resume goes on from there", err=True)
        raise typer.Exit(130) from stop
    if int(os.environ.get("RANK", "0")) == 0:
        _print(result, json_)


def shortcuts(model: str | None, dataset: str | None, data: Path | None) -> list[str]:
    """``--model``, ``--dataset`` and ``--data`` as settings: the paper's batch size and pretrained weights.

    Models are named as for measuring; their weights come through timm, which downloads them: of ImageNet-21K for
    ViTs, timm's default for the others.
    """
    found = []
    if model is not None:
        spec = parse(model)
        if spec.maker not in ("timm", "ecp") or spec.batch != 1:
            raise UsageError(
                f"--model {model}: train takes networks that timm has weights of, and ecp_vit_*, ecp_deit_*; for "
                "another one's own weights measure its ONNX file: bench accuracy --models onnx:FILE"
            )
        ratio = 1.0 if spec.core_ratio is None else spec.core_ratio
        tag = IMAGENET_21K if spec.family in ("vit", "ecp_vit") else ""
        found += [f"model.name={spec.source}{tag}", f"model.core_ratio={ratio}", "model.weights=timm"]
        found += [f"model.image={spec.size}"] if spec.size else []
    if dataset is not None:
        kind, batch = DATASETS[check_name("data set", dataset, DATASETS)]
        found += [f"data.kind={kind}", f"recipe.batch={batch}"]
    if data is not None:
        found.append(f"data.path={json.dumps(str(data))}")
    return found


def run(config: TrainConfig, out: Path, resume: bool) -> dict[str, Any]:
    """Data, model, core order, training, curves, export; the result's summary."""
    import torch

    from ecp.model.training import build, checkpoint, curves, data
    from ecp.model.training.engine import CHECKPOINT, Trainer

    distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if distributed:
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        torch.manual_seed(config.seed)
        found = data.load(config.data, config.seed)
        model = build.dense(config.model, len(found.classes))
        mean, std = build.normalisation(config.model, model)
        size = build.input_size(config.model, model)
        recipe = config.recipe
        train_images = data.Images(found.train, size, mean, std, recipe.crop, recipe.flip, config.seed)
        test_images = data.Images(found.test, size, mean, std)
        shown = data.Images(build.core_source(config.model, found), size, mean, std)
        order = _core_order(config, out, resume, model, shown)
        trained = build.ecp_form(model, config.model, order)
        method = config.model.core if order is None else order.method
        core = {} if config.model.core_ratio == 1.0 else {"method": method, **trained.ecp}
        trainer = Trainer(trained, train_images, test_images, config, found.sha256, core)
        if resume:
            trainer.resume(out / CHECKPOINT)
        begin = time.perf_counter()
        curve = trainer.run(out, lambda entry: _progress(entry, recipe.epochs))
        summary = {
            "top1": curve[-1]["top1"],
            "unit": "%",
            "train_images": len(found.train.labels),
            "test_images": len(found.test.labels),
            "classes": found.classes,
            "data": {"sha256": found.sha256, "hashed": found.hashed, **found.notes},
            "mean": list(mean),
            "std": list(std),
            "image": size,
            "core": core,
            "config": config.model_dump(mode="json"),
            "curve": curve,
            "seconds": time.perf_counter() - begin,
            "torch": torch.__version__,
            "device": str(trainer.device),
        }
        if trainer.rank == 0:
            weights = checkpoint.model_state(out / CHECKPOINT)
            trained.load_state_dict(weights)
            kept = ("mean", "std", "classes", "core", "top1")
            build.export(trained, out / "model.onnx", size, {name: summary[name] for name in kept})
            curves.plot(curve, out / "curve.png")
            (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        return summary
    finally:
        if distributed:
            torch.distributed.destroy_process_group()


def _core_order(config: TrainConfig, out: Path, resume: bool, model: Any, images: Any) -> Any:
    """The core order, chosen once and kept in ``core.json`` for the resumed run; None where there is no fixed set."""
    import numpy as np

    from ecp.model.corechoice import PER_IMAGE, CoreOrder
    from ecp.model.corefigure import draw
    from ecp.model.training import build

    if config.model.core_ratio == 1.0 or config.model.core == PER_IMAGE:
        return None
    saved = out / "core.json"
    if resume and saved.exists():
        return CoreOrder.load(saved)
    order = build.core_order(config.model, model, images, config.seed)
    if int(os.environ.get("RANK", "0")) == 0:
        order.save(saved)
        shown = [images[i][0].permute(1, 2, 0).numpy() for i in range(min(4, len(images)))]
        pictures = [(p - p.min()) / max(float(np.ptp(p)), 1e-6) for p in shown]
        draw([order], config.model.core_ratio, pictures, out / "cores.png")
    return order


def _progress(entry: dict[str, float], epochs: int) -> None:
    if int(os.environ.get("RANK", "0")) == 0:
        typer.echo(
            f"epoch {int(entry['epoch'])}/{epochs}  loss {entry['loss']:.4f}  top-1 {entry['top1']:.2f} %  "
            f"{entry['seconds']:.1f} s",
            err=True,
        )


def _print(result: dict[str, Any], json_: str | None) -> None:
    line = f"top-1 {result['top1']:.2f} % on {result['test_images']} test images"
    if json_ is None:
        typer.echo(line)
        return
    text = json.dumps(result, indent=1)
    if json_ == "-":
        typer.echo(text)
        return
    try:
        Path(json_).write_text(text + "\n")
    except OSError as error:
        raise EcpError(f"--json {json_}: {error.strerror}") from error
