"""One training run: deterministic order, mixed precision, gradient accumulation, resume, several devices.

On one device a run that is interrupted and resumed gives the same bits as one that is not: the order of
images depends on (seed, epoch), augmentation on (seed, epoch, index), and the checkpoint holds everything
else. Several processes (torchrun) share each batch through DistributedDataParallel.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler

from ecp.errors import EcpError, UsageError
from ecp.model.training import checkpoint
from ecp.model.training.config import TrainConfig
from ecp.model.training.data import Images
from ecp.model.training.optim import adamw, cosine, set_lr

CHECKPOINT = "checkpoint.safetensors"
Report = Callable[[dict[str, float]], None]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; the checkpoint is written."""


class EpochOrder(Sampler[int]):
    """The images of one epoch from a given step on, for one of ``world`` processes; incomplete batches dropped."""

    def __init__(self, count: int, batch: int, seed: int, rank: int, world: int) -> None:
        self.count, self.batch, self.seed, self.rank, self.world = count, batch, seed, rank, world
        self.epoch, self.first_step = 0, 0

    @property
    def steps(self) -> int:
        """Optimiser steps in an epoch."""
        return self.count // self.batch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.count, generator=generator)[: self.steps * self.batch]
        batches = order.view(self.steps, self.batch)[self.first_step :]
        share = self.batch // self.world
        return iter(batches[:, self.rank * share : (self.rank + 1) * share].flatten().tolist())

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.batch // self.world


def pick_device(name: str) -> torch.device:
    """The torch device asked for; ``auto`` is this process's GPU if there is one, else the CPU."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device '{name}': use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: torch sees no CUDA device here; use --set device=cpu")
    return torch.device("cuda", local) if device.type == "cuda" and device.index is None else device


@contextmanager
def _interruptible(stop: list[bool]) -> Iterator[None]:
    """Ctrl-C sets a flag that is read between steps, so that no step is torn."""

    def note(*_: object) -> None:
        stop.append(True)

    try:
        previous = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread: leave signals alone
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class Trainer:
    """Trains one model. ``out`` receives the checkpoint; only process 0 writes."""

    def __init__(
        self,
        model: Any,
        train: Images,
        test: Images,
        config: TrainConfig,
        data_sha256: str,
        core: dict[str, Any],
    ) -> None:
        recipe = config.recipe
        self.config, self.train, self.test = config, train, test
        self.device = pick_device(config.device)
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if recipe.batch % (self.world * recipe.accumulate):
            raise UsageError(
                f"recipe.batch {recipe.batch} does not divide into {self.world} devices x {recipe.accumulate} passes"
            )
        self.order = EpochOrder(len(train), recipe.batch, config.seed, self.rank, self.world)
        if not self.order.steps:
            raise UsageError(f"recipe.batch {recipe.batch} is larger than the {len(train)} training images")
        self.model = model.to(self.device)
        if recipe.gradient_checkpoint:
            self.model.set_grad_checkpointing(True)
        self.replica: Any = self.model
        if self.world > 1:
            ids = [self.device] if self.device.type == "cuda" else None
            self.replica = torch.nn.parallel.DistributedDataParallel(self.model, device_ids=ids)
        self.optimizer = adamw(self.model, recipe.lr, recipe.weight_decay, recipe.head_lr_scale)
        self.steps = self.order.steps * recipe.epochs
        self.progress = checkpoint.Progress(0, config.model_dump(mode="json"), data_sha256, core, [], {})
        amp = recipe.amp
        if amp == "auto":
            amp = "bf16" if self.device.type == "cuda" and torch.cuda.is_bf16_supported() else "off"
        self.amp = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(amp)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)

    def _precision(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.amp is None else torch.autocast(self.device.type, self.amp)

    def _loader(self, images: Images, sampler: Sampler[int] | None, batch: int) -> DataLoader[Any]:
        return DataLoader(
            images,
            batch_size=batch,
            sampler=sampler,
            num_workers=self.config.data.workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # its own: a loader draws a number, and a resumed run makes one more
        )

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same configuration and data; :class:`UsageError` otherwise."""
        found = checkpoint.read_progress(path)
        for name, theirs, ours in (
            ("configuration", found.config, self.progress.config),
            ("data", found.data_sha256, self.progress.data_sha256),
        ):
            if theirs != ours:
                raise UsageError(f"{path} belongs to another {name}: resume with the one it was started with")
        self.progress = checkpoint.restore(path, self.model, self.optimizer)
        self.scaler.load_state_dict(self.progress.scaler)

    def save(self, out: Path) -> None:
        """Write the checkpoint (process 0)."""
        self.progress.scaler = self.scaler.state_dict()
        if self.rank == 0:
            checkpoint.save(out / CHECKPOINT, self.model, self.optimizer, self.progress)

    def run(self, out: Path, report: Report = lambda _: None) -> list[dict[str, float]]:
        """Train to the end from wherever the run stands; the learning curve, one entry per epoch."""
        stop: list[bool] = []
        try:
            with _interruptible(stop):
                while self.progress.step < self.steps:
                    self._epoch(out, report, stop)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "out of memory" not in str(error).lower():
                raise
            raise EcpError(self._memory_advice()) from error
        return self.progress.curve

    def _memory_advice(self) -> str:
        recipe = self.config.recipe
        passes = recipe.accumulate * 2
        share = recipe.batch // passes
        return (
            f"out of memory on {self.device} with {recipe.batch // recipe.accumulate} images a pass: try "
            f"--set recipe.accumulate={passes} ({share} a pass, the same recipe), recipe.gradient_checkpoint=true, "
            f"or recipe.batch={max(1, recipe.batch // 2)}"
        )

    def _epoch(self, out: Path, report: Report, stop: list[bool]) -> None:
        epoch, first = divmod(self.progress.step, self.order.steps)
        self.order.epoch = self.train.epoch = epoch
        self.order.first_step = first
        self.model.train()
        begin, total = time.perf_counter(), torch.zeros((), device=self.device)
        recipe, share = self.config.recipe, self.order.batch // self.world // self.config.recipe.accumulate
        passes = iter(self._loader(self.train, self.order, share))
        for step in range(first, self.order.steps):
            total += self._step([next(passes) for _ in range(recipe.accumulate)])
            self.progress.step += 1
            every = self.config.checkpoint_every
            if stop or (every and self.progress.step % every == 0 and step + 1 < self.order.steps):
                self.save(out)
            if stop:
                raise Interrupted(f"stopped after step {self.progress.step} of {self.steps}")
        entry = {
            "epoch": epoch + 1,
            "loss": float(total) / (self.order.steps - first),
            "top1": self.evaluate(),
            "lr": self.optimizer.param_groups[-1]["lr"],
            "seconds": time.perf_counter() - begin,
        }
        self.progress.curve.append(entry)
        self.save(out)
        report(entry)

    def _step(self, passes: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        recipe = self.config.recipe
        warmup = int(recipe.warmup_epochs * self.order.steps)
        set_lr(self.optimizer, cosine(self.progress.step, self.steps, warmup, recipe.min_lr / recipe.lr))
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for number, (images, labels) in enumerate(passes):
            last = number == len(passes) - 1
            local = self.replica.no_sync() if self.world > 1 and not last else nullcontext()
            with local:
                with self._precision():
                    logits = self.replica(images.to(self.device, non_blocking=True))
                loss = functional.cross_entropy(
                    logits.float(), labels.to(self.device), label_smoothing=recipe.label_smoothing
                )
                self.scaler.scale(loss / len(passes)).backward()
            total += loss.detach() / len(passes)
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total

    @torch.no_grad()
    def evaluate(self) -> float:
        """Top-1 in percent over the test images, each counted once, shared among the processes."""
        self.model.eval()
        mine = list(range(self.rank, len(self.test), self.world))
        subset: Any = torch.utils.data.Subset(self.test, mine)
        counts = torch.zeros(2, device=self.device)
        share = max(1, self.config.recipe.batch // self.world // self.config.recipe.accumulate)
        for images, labels in self._loader(subset, None, share):
            with self._precision():
                hits = self.model(images.to(self.device)).argmax(1) == labels.to(self.device)
            counts += torch.stack([hits.sum(), torch.tensor(len(hits), device=self.device)])
        if self.world > 1:
            distributed.all_reduce(counts)
        return 100 * float(counts[0] / counts[1])
