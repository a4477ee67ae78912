"""Many short fine-tunings of one backbone under one identical budget: dense control, ratios, core choices.

All images lie in device memory as bytes and are cropped, flipped and enlarged there. Every arm runs the same
masked graph (equal to the two-product form, see the tests of :mod:`ecp.model.attention`), so the network is
compiled once and an arm only swaps the mask. A seed fixes the order of the images and their augmentation,
so arms of one seed differ in nothing but their core set.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ecp.model.convert import to_ecp
from ecp.model.graph import CorePeripheryGraph
from ecp.model.training.checkpoint import Progress, extras, read_progress, restore, save
from ecp.model.training.optim import adamw, cosine, set_lr


@dataclass(frozen=True)
class Budget:
    """What every arm gets. Rates as in the paper where they are stated; ``image`` is in pixels."""

    epochs: float
    batch: int = 256
    lr: float = 5e-4
    min_lr: float = 1e-7
    weight_decay: float = 0.05
    warmup: float = 0.1
    head_lr_scale: float = 10.0
    label_smoothing: float = 0.1
    clip: float = 1.0
    crop: tuple[float, float] = (0.5, 1.0)
    image: int = 196
    head_std: float = (
        0.0  # standard deviation of a seed's own initial head; 0: every seed starts with the model's
    )


@dataclass(frozen=True)
class Split:
    """Images as bytes ``[n, side, side, 3]`` and labels ``[n]``, on the device."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Arm:
    """One fine-tuning: core ratio, core choice (a name and its ranking) and seed."""

    ratio: float
    core: str
    ranking: Sequence[int]
    seed: int


class Paused(Exception):
    """An arm stopped at its deadline; its checkpoint holds where it stands."""


@dataclass(frozen=True)
class Pause:
    """Where an arm keeps its state while it runs, and when (``time.monotonic``) it has to stop, if ever."""

    checkpoint: Path
    deadline: float | None = None

    def due(self) -> bool:
        """Whether the arm has to stop now."""
        return self.deadline is not None and time.monotonic() >= self.deadline


class Study:
    """Arms over one initial state. ``mean`` and ``std`` are per channel, of pixels in [0, 1]."""

    def __init__(
        self,
        vit: torch.nn.Module,
        train: Split,
        test: Split,
        mean: Sequence[float],
        std: Sequence[float],
        compiled: bool = False,
    ) -> None:
        self.device = train.images.device
        self.train, self.test = train, test
        model: Any = to_ecp(vit, 1.0, masked=True)
        self.model = model.to(self.device).train()
        self.initial = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        tokens = self.model.num_prefix_tokens + self.model.patch_embed.num_patches
        self.mask = torch.ones(tokens, tokens, dtype=torch.bool, device=self.device)
        for block in self.model.blocks:
            block.attn.mask = self.mask
        self.mean = torch.tensor(mean, device=self.device).view(3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(3, 1, 1)
        trunk: Callable[[torch.Tensor], torch.Tensor] = self.model.forward_features
        # without the head, whose size differs between data sets, compiled graphs are found in the cache again
        self.trunk = torch.compile(trunk, dynamic=False) if compiled else trunk

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits: torch.Tensor = self.model.forward_head(self.trunk(images))
        return logits

    def _pixels(self, images: torch.Tensor) -> torch.Tensor:
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std

    def _augment(self, images: torch.Tensor, budget: Budget, generator: torch.Generator) -> torch.Tensor:
        """A square crop of random area and place, mirrored at random, enlarged to the input size."""
        n = len(images)
        low, high = budget.crop
        draws = torch.rand(4, n, generator=generator, device=self.device)
        side = (low + (high - low) * draws[0]).sqrt()
        theta = torch.zeros(n, 2, 3, device=self.device)
        theta[:, 0, 0] = side * torch.where(draws[3] < 0.5, -1.0, 1.0)
        theta[:, 1, 1] = side
        theta[:, 0, 2] = (2 * draws[1] - 1) * (1 - side)
        theta[:, 1, 2] = (2 * draws[2] - 1) * (1 - side)
        grid = functional.affine_grid(theta, [n, 3, budget.image, budget.image], align_corners=False)
        return functional.grid_sample(
            self._pixels(images), grid, padding_mode="reflection", align_corners=False
        )

    def _start(self, arm: Arm, budget: Budget) -> None:
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                value.copy_(self.initial[name])
            if budget.head_std:
                drawn = torch.Generator().manual_seed(arm.seed)
                weight = self.model.head.weight
                weight.copy_(torch.randn(weight.shape, generator=drawn) * budget.head_std)
            patches = int(self.model.patch_embed.num_patches)
            graph = CorePeripheryGraph.build(patches, arm.ratio, arm.ranking)
            prefix = int(self.model.num_prefix_tokens)
            self.mask.copy_(torch.from_numpy(graph.token_mask(prefix, raster=True)))

    def fit(
        self, arm: Arm, budget: Budget, indices: torch.Tensor | None = None, pause: Pause | None = None
    ) -> list[float]:
        """Fine-tune from the initial state on the training images (or ``indices`` of them); the losses.

        With ``pause``, an arm that was stopped goes on at its checkpoint, bit for bit as if it had not been; raises
        :class:`Paused` when its deadline comes.
        """
        self._start(arm, budget)
        pool = torch.arange(len(self.train.labels), device=self.device) if indices is None else indices
        generator = torch.Generator(self.device).manual_seed(1000 + arm.seed)
        steps = max(1, int(budget.epochs * len(pool)) // budget.batch)
        order = torch.cat(
            [
                pool[torch.randperm(len(pool), generator=generator, device=self.device)]
                for _ in range(int(np.ceil(steps * budget.batch / len(pool))))
            ]
        )
        optimizer = adamw(
            self.model, budget.lr, budget.weight_decay, budget.head_lr_scale, fused=self.device.type == "cuda"
        )
        losses = self._restored(arm, budget, optimizer, generator, pause)
        for step in range(len(losses), steps):
            if pause is not None and pause.due():
                self._keep(arm, budget, optimizer, generator, losses, pause.checkpoint)
                raise Paused
            set_lr(optimizer, cosine(step, steps, int(budget.warmup * steps), budget.min_lr / budget.lr))
            chosen = order[step * budget.batch : (step + 1) * budget.batch]
            losses.append(self._step(chosen, budget, optimizer, generator))
        return [float(x) for x in torch.stack(losses).cpu()]

    def _step(
        self,
        chosen: torch.Tensor,
        budget: Budget,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> torch.Tensor:
        images = self._augment(self.train.images[chosen], budget, generator)
        loss = functional.cross_entropy(
            self._logits(images).float(), self.train.labels[chosen], label_smoothing=budget.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), budget.clip)
        optimizer.step()
        return loss.detach()

    def _keep(
        self,
        arm: Arm,
        budget: Budget,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        losses: list[torch.Tensor],
        path: Path,
    ) -> None:
        extra = {"generator": generator.get_state()}
        if losses:
            extra["losses"] = torch.stack(losses)
        progress = Progress(len(losses), _identity(arm, budget), "", {}, [], {})
        save(path, self.model, optimizer, progress, extra)

    def _restored(
        self,
        arm: Arm,
        budget: Budget,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        pause: Pause | None,
    ) -> list[torch.Tensor]:
        """The losses so far, with weights, optimiser and random state put back; none at an arm's beginning."""
        if pause is None or not pause.checkpoint.exists():
            return []
        if read_progress(pause.checkpoint).config != _identity(arm, budget):
            return []  # of another arm: it is written over when this one has to stop
        restore(pause.checkpoint, self.model, optimizer)
        kept = extras(pause.checkpoint)
        generator.set_state(kept["generator"])
        return list(kept["losses"].to(self.device)) if "losses" in kept else []

    @torch.no_grad()
    def correct(self, split: Split, budget: Budget, batch: int = 512) -> np.ndarray:
        """Whether each image of ``split`` is classified correctly, bool ``[n]``; no augmentation."""
        hits = []
        for start in range(0, len(split.labels), batch):
            part, labels = split.images[start : start + batch], split.labels[start : start + batch]
            filler = part[-1:].expand(batch - len(part), -1, -1, -1)  # one shape, so one compiled graph
            size = (budget.image, budget.image)
            images = functional.interpolate(self._pixels(torch.cat([part, filler])), size, mode="bilinear")
            hits.append(self._logits(images)[: len(part)].argmax(1) == labels)
        return torch.cat(hits).cpu().numpy()

    def run(self, arm: Arm, budget: Budget, pause: Pause | None = None) -> dict[str, Any]:
        """Fine-tune and test one arm; a record with top-1 in percent, the loss curve and per-image hits.

        ``seconds`` are those of this process: an arm that was paused has spent more.
        """
        begin = time.perf_counter()
        losses = self.fit(arm, budget, pause=pause)
        hits = self.correct(self.test, budget)
        thinned = losses[:: max(1, len(losses) // 50)]
        return {
            "ratio": arm.ratio,
            "core": arm.core,
            "seed": arm.seed,
            "top1": 100 * float(hits.mean()),
            "images": len(hits),
            "hits": base64.b64encode(np.packbits(hits).tobytes()).decode(),
            "steps": len(losses),
            "loss": [round(x, 4) for x in thinned],
            "final_loss": round(float(np.mean(losses[-20:])), 4),
            "finite": bool(np.isfinite(losses).all()),
            "seconds": round(time.perf_counter() - begin, 2),
            "budget": asdict(budget),
        }

    def state(self, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """The weights of the last arm in raster order: load them into a dense timm model, then convert."""
        return {k: v.detach().to(dtype).cpu() for k, v in self.model.state_dict().items()}


def _identity(arm: Arm, budget: Budget) -> dict[str, Any]:
    """What makes an arm that arm, as JSON gives it back."""
    known: dict[str, Any] = json.loads(
        json.dumps({"arm": asdict(arm), "budget": asdict(budget)}, default=list)
    )
    return known


def unpack_hits(record: dict[str, Any]) -> np.ndarray:
    """The per-image hits of a record, bool ``[images]``."""
    packed = np.frombuffer(base64.b64decode(record["hits"]), dtype=np.uint8)
    return np.unpackbits(packed, count=record["images"]).astype(bool)
