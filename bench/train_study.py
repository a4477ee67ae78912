"""``python -m bench train-study``: many short fine-tunings under one budget, with a dense control and intervals.

The committed records under ``reports/records`` whose name holds ``accuracy`` were made with this recipe.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.names import split_names
from bench.train_report import table, write
from ecp.errors import EcpError, UsageError

if TYPE_CHECKING:
    from ecp.model.training.config import RecipeConfig
    from ecp.model.training.data import Source
    from ecp.model.training.study import Arm, Budget, Study


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train-study")(train_study)


def train_study(
    config: Annotated[Path | None, typer.Argument(help="YAML file as for train")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="change one value (repeatable)")] = None,
    ratios: Annotated[
        str, typer.Option(help="core ratios; the dense control is always run")
    ] = "0.1,0.5,0.8,0.9",
    cores: Annotated[
        str, typer.Option(help="core choices, by name or the path of a core-order JSON")
    ] = "grad-cam,random,centre",
    seeds: Annotated[int, typer.Option(min=1, help="seeds per arm")] = 3,
    epochs: Annotated[float, typer.Option(min=0.01, help="length of every arm")] = 2.5,
    out: Annotated[Path, typer.Option(help="folder of the study")] = Path("build/study"),
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="stop after this time, inside an arm too; the same command goes on"),
    ] = None,
    head_std: Annotated[
        float, typer.Option(min=0, help="every seed draws its own initial class head of this deviation")
    ] = 0.0,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="rebuild table and pictures of --out")
    ] = False,
) -> None:
    """Dense control and core choices under one identical budget: paired differences with intervals.

    An interrupted study continues with the arms that are missing; one stopped by --minutes inside an arm goes on
    there, bit for bit.

    Example: python -m bench train-study --ratios 0.3,0.8 --cores random,core.json --seeds 5
    """
    name = "study"
    if not report_only:
        try:
            deadline = None if minutes is None else time.monotonic() + 60 * minutes
            name = _run(
                config, set_, _ratios(ratios), split_names(cores, []), seeds, epochs, out, head_std, deadline
            )
        except KeyboardInterrupt as stop:
            typer.echo("interrupted; the same command goes on with the arms that are missing", err=True)
            raise typer.Exit(130) from stop
    if report_only:
        name = _study(out).get("model", name)
    elif not (out / "arms.jsonl").exists():  # stopped inside the first arm
        return
    typer.echo(table(write(out, name)))


def _core_name(core: str) -> str:
    """What records call a core choice: its own name, or that of its file."""
    return Path(core).stem if Path(core).is_file() else core


def _ratios(text: str) -> list[float]:
    try:
        return [float(part) for part in split_names(text, [])]
    except ValueError as error:
        raise UsageError(f"--ratios {text}: numbers separated by commas") from error


def _study(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / "study.jsonl").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{out / 'study.jsonl'}: not the record of a study ({error})") from error
    return found


def _run(
    config_path: Path | None,
    settings: list[str] | None,
    ratios: list[float],
    cores: list[str],
    seeds: int,
    epochs: float,
    out: Path,
    head_std: float,
    deadline: float | None,
) -> str:
    import torch

    from ecp.model.corechoice import METHODS, unknown
    from ecp.model.training import build, data
    from ecp.model.training.config import load_config
    from ecp.model.training.engine import pick_device
    from ecp.model.training.study import Arm, Study

    for core in cores:
        if core not in METHODS and not Path(core).is_file():
            raise unknown(core)
    config = load_config(config_path, settings)
    found = data.load(config.data, config.seed)
    torch.manual_seed(config.seed)
    model = build.dense(config.model, len(found.classes))
    mean, std = build.normalisation(config.model, model)
    size, device = build.input_size(config.model, model), pick_device(config.device)
    budget = _budget(config.recipe, epochs, size, head_std)
    chosen = {}
    for core in cores:
        asked = config.model.model_copy(update={"core": core})
        shown = data.Images(build.core_source(asked, found), size, mean, std)
        for seed in range(seeds) if core == "random" else [0]:
            chosen[_core_name(core), seed] = build.core_order(asked, model, shown, seed)
    out.mkdir(parents=True, exist_ok=True)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    facts: dict[str, Any] = {"gpu": gpu, "torch": torch.__version__, "data_sha256": found.sha256}
    facts |= {"model": config.model.name, "config": config.model_dump(mode="json"), "epochs": epochs}
    _same_study(out, facts | ({"head_std": head_std} if head_std else {}))
    arms, methods = [], {"dense": "dense"}
    for seed in range(seeds):
        arms.append(Arm(1.0, "dense", range(int(model.patch_embed.num_patches)), seed))
        for core in map(_core_name, cores):
            order = chosen[core, seed if core == "random" else 0]
            methods[core] = order.method
            arms += [Arm(ratio, core, order.ranking, seed) for ratio in ratios if ratio < 1.0]
    train, test = _split(found.train, device), _split(found.test, device)
    study = Study(model, train, test, mean, std, compiled=device.type == "cuda")
    _train(study, arms, budget, out, {"dataset": config.data.kind}, methods, deadline)
    return config.model.name


def _budget(recipe: RecipeConfig, epochs: float, size: int, head_std: float) -> Budget:
    from ecp.model.training.study import Budget

    return Budget(
        epochs,
        recipe.batch,
        recipe.lr,
        recipe.min_lr,
        recipe.weight_decay,
        head_lr_scale=recipe.head_lr_scale,
        label_smoothing=recipe.label_smoothing,
        clip=recipe.clip,
        crop=recipe.crop,
        image=size,
        head_std=head_std,
    )


def _train(
    study: Study,
    arms: list[Arm],
    budget: Budget,
    out: Path,
    facts: dict[str, Any],
    methods: dict[str, str],
    deadline: float | None,
) -> None:
    """Train the arms that are missing, one line each; stops at the deadline with the arm's state kept."""
    from ecp.model.training.study import Pause, Paused

    done, checkpoint = _done(out), out / "arm.safetensors"
    for arm in arms:
        if (arm.core, arm.ratio, arm.seed) in done:
            continue
        try:
            record = study.run(arm, budget, Pause(checkpoint, deadline))
        except Paused:
            typer.echo("stopped at --minutes; the same command goes on from there", err=True)
            return
        with (out / "arms.jsonl").open("a") as file:
            file.write(json.dumps(facts | {"method": methods[arm.core], **record}) + "\n")
        checkpoint.unlink(missing_ok=True)
        typer.echo(f"{arm.core} {arm.ratio:g} seed {arm.seed}: top-1 {record['top1']:.2f} %", err=True)


def _same_study(out: Path, facts: dict[str, Any]) -> None:
    """Start the folder's ``study.jsonl``, or check that the folder belongs to this study."""
    file = out / "study.jsonl"
    if file.exists():
        if _study(out) != facts:
            raise UsageError(
                f"{out} holds a study of another configuration, data, device or torch: choose another --out"
            )
        return
    try:
        file.write_text(json.dumps(facts) + "\n")
    except OSError as error:
        raise EcpError(f"{file}: {error.strerror}") from error


def _done(out: Path) -> set[tuple[str, float, int]]:
    from bench.train_report import read_arms

    if not (out / "arms.jsonl").exists():
        return set()
    return {(arm["core"], arm["ratio"], arm["seed"]) for arm in read_arms(out)}


def _split(source: Source, device: Any) -> Any:
    """All images of a split as bytes of one size in device memory."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import torch
    from PIL import Image

    from ecp.model.training.study import Split

    def pixels(image: Any) -> np.ndarray:
        if isinstance(image, np.ndarray):
            return image
        with Image.open(image) as opened:
            return np.asarray(opened.convert("RGB"))

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        found = list(pool.map(pixels, source.images))
    shapes = {p.shape for p in found}
    if len(shapes) != 1:
        raise UsageError(f"a study needs images of one size, here are {len(shapes)} sizes: use train instead")
    return Split(torch.from_numpy(np.stack(found)).to(device), torch.tensor(source.labels, device=device))
