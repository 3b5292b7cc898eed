"""One training step of any family: every phase in turn, its gradients, its optimiser. It names no family."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from cgan_runtime.errors import CganError
from torch import Tensor, nn

from cgan_trainer.families.base import Batch, Networks, Phase, Progress, Recipe, Stage
from cgan_trainer.nets.ema import WeightAverage
from cgan_trainer.training.optimizers import make_optimizer
from cgan_trainer.training.ranks import ALONE, Ranks

__all__ = ["Trainer", "Turn"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One optimiser step: a phase, and the batches whose mean gradient it follows."""

    phase: Phase
    batches: tuple[Batch, ...]

    @property
    def images(self) -> int:
        """Images of all batches."""
        return sum(len(batch) for batch in self.batches)


class Trainer:
    """The networks of a recipe, their optimisers and averages.

    Args:
        recipe: fresh; its networks get their first weights here, in their order.
        stages: of the run; the first one begins here.
        device: where the networks live.
        ranks: the processes that train together.
    """

    def __init__(
        self, recipe: Recipe[Any, Any], stages: Sequence[Stage], *, device: str = "cpu", ranks: Ranks = ALONE
    ) -> None:
        self.recipe, self.ranks = recipe, ranks
        self.device = torch.device(device)
        recipe.device = self.device
        recipe.layout = torch.channels_last if recipe.config.in_channels_last else torch.contiguous_format
        for network in recipe.networks.values():
            recipe.initialise(network)
            network.to(self.device, memory_format=recipe.layout)  # type: ignore[call-overload]  # torch leaves this form out
        for network in recipe.feature_nets.values():
            network.to(self.device).eval().requires_grad_(requires_grad=False)
        if ranks.count > 1:
            for pool in recipe.pools.values():
                pool.gather, pool.rank = ranks.gather, ranks.rank
        decay = recipe.config.ema
        self.averages = {name: WeightAverage(recipe.networks[name], decay) for name in recipe.averaged if decay}
        self.steps = 0
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.begin(stages[0])
        if recipe.config.torch_compile:
            _compile(recipe, stages)

    @property
    def saved_networks(self) -> Networks:
        """Those to validate, save and export: the averages where there are any."""
        averages = {name: average.net for name, average in self.averages.items()}
        return {**self.recipe.networks, **averages}

    def begin(self, stage: Stage) -> None:
        """Make the optimisers of a stage; those of earlier stages go on unless it asks for fresh ones."""
        if stage.fresh_optimizers:
            self.optimizers = {}
        for phase in stage.phases:
            if phase.name not in self.optimizers:
                parameters = [p for name in phase.trains for p in self.recipe.networks[name].parameters()]
                self.optimizers[phase.name] = make_optimizer(phase.optimizer, parameters)

    def step(self, turns: Sequence[Turn], progress: Progress) -> dict[str, float]:
        """One turn of every phase.

        Args:
            turns: in the order of the phases; the turns of a phase that takes several batches follow each other.
            progress: where the run stands; decides the rates.

        Returns:
            The parts of `Recipe.loss_names` that these phases have: means over the images, the turns of their
            phase and all ranks.

        Raises:
            CganError: a loss is not finite. The networks are spoilt then; last.pt is not.
        """
        losses: dict[str, Tensor] = {}
        made: list[dict[str, Tensor]] | None = None
        for at, turn in enumerate(turns):
            following = turns[at + 1] if at + 1 < len(turns) else None
            repeats = sum(other.phase is turn.phase for other in turns)
            keep_for = following.phase if following is not None and _shares_made(turn, following) else None
            made = self._turn(turn, made, keep_for, losses=losses, share=1 / repeats, progress=progress)
        self.steps += 1
        for name, average in self.averages.items():
            average.update(self.recipe.networks[name], self.steps)
        names = [name for name in self.recipe.loss_names if name in losses]  # of this stage
        values = self.ranks.mean(torch.stack([losses[name] for name in names])).tolist()
        means = dict(zip(names, values, strict=True))
        _check_finite(means)
        return means

    def _turn(
        self,
        turn: Turn,
        made: list[dict[str, Tensor]] | None,
        keep_for: Phase | None,
        *,
        losses: dict[str, Tensor],
        share: float,
        progress: Progress,
    ) -> list[dict[str, Tensor]] | None:
        """One optimiser step; returns what was made, where the phase `keep_for` uses it next."""
        phase, optimizer = turn.phase, self.optimizers[turn.phase.name]
        self._prepare(phase, keep_for)
        optimizer.zero_grad()
        kept: list[dict[str, Tensor]] = []
        for at, batch in enumerate(turn.batches):
            if made is None:
                graph = phase.through_make or (keep_for is not None and keep_for.through_make)
                mine = self._made(phase, batch, graph=graph)
            else:
                mine = made[at]
            if keep_for is not None:
                kept.append(mine if keep_for.through_make else _detached(mine))
            if not phase.through_make:
                mine = _detached(mine)
            with self._precision():
                found = self.recipe.losses(phase, batch, mine)
            part = len(batch) / turn.images
            (found.total * part).backward()  # type: ignore[no-untyped-call]  # torch ships it unannotated
            for name, value in found.parts.items():
                losses[name] = losses.get(name, torch.zeros((), device=value.device)) + value.detach() * (
                    part * share
                )
        self._apply(phase, optimizer, progress)
        return kept if keep_for is not None else None

    def _made(self, phase: Phase, batch: Batch, *, graph: bool) -> dict[str, Tensor]:
        with torch.set_grad_enabled(graph), self._precision():
            made = self.recipe.make(phase, batch)
        return {name: value.float() if value.is_floating_point() else value for name, value in made.items()}

    def _prepare(self, phase: Phase, keep_for: Phase | None) -> None:
        """Networks that only pass the gradient on need none of their own; some are run as in use."""
        later = keep_for.trains if keep_for is not None and keep_for.through_make else ()
        for name, network in self.recipe.networks.items():
            if name in phase.trains or name in later:
                network.requires_grad_(requires_grad=True)
            elif phase.through_make:
                network.requires_grad_(requires_grad=False)
            network.train(name not in phase.frozen_eval)

    def _apply(self, phase: Phase, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        rate, momentum = self.recipe.learning_rate(phase, progress), self.recipe.momentum(phase, progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
            if momentum is not None:
                group["momentum"] = momentum
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        self.ranks.average_gradients(trained)
        optimizer.step()
        if (clip := phase.optimizer.clip) is not None:
            with torch.no_grad():
                for parameter in trained:
                    parameter.clamp_(-clip, clip)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        bf16 = self.recipe.config.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            yield

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: tensors and plain values."""
        return {
            "networks": {name: network.state_dict() for name, network in self.recipe.networks.items()},
            "averages": {name: average.net.state_dict() for name, average in self.averages.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "pools": {name: list(pool.images) for name, pool in self.recipe.pools.items()},
            "steps": self.steps,
            "extra": self.recipe.extra_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; every stage up to the current one must have begun, in order."""
        for name, network in self.recipe.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, average in self.averages.items():
            average.net.load_state_dict(state["averages"][name])
        for name, optimizer in self.optimizers.items():
            self._load_optimizer(optimizer, state["optimizers"][name])
        for name, pool in self.recipe.pools.items():
            pool.images = [image.to(self.device) for image in state["pools"].get(name, [])]
        self.steps = int(state["steps"])
        self.recipe.load_extra_state(state["extra"])

    def _load_optimizer(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        optimizer.load_state_dict(state)
        for moments in optimizer.state.values():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.ndim == 4:
                    # The fused step takes moments in the layout of their weights.
                    moments[name] = value.contiguous(memory_format=self.recipe.layout)


def _shares_made(turn: Turn, following: Turn) -> bool:
    """Whether what `turn` makes serves the next one too.

    Of several batches the values do, but not their graphs: all would have to be kept. Nor does it where both
    differentiate through it: the first backward pass frees the graph.
    """
    same = following.batches is turn.batches and following.phase.reuse
    if not following.phase.through_make:
        return same
    return same and len(turn.batches) == 1 and not turn.phase.through_make


def _detached(made: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in made.items()}


def _compile(recipe: Recipe[Any, Any], stages: Sequence[Stage]) -> None:
    """Compile in place, which keeps the names of the state; not what a penalty is differentiated through twice."""
    phases = [phase for stage in stages for phase in stage.phases]
    twice = {name for phase in phases if phase.second_order for name in phase.trains}
    for name, network in recipe.networks.items():
        if name not in twice:
            _compiled(network)


def _compiled(network: nn.Module) -> None:
    network.compile()


def _check_finite(losses: dict[str, float]) -> None:
    wrong = [name for name, value in losses.items() if not math.isfinite(value)]
    if wrong:
        raise CganError(
            f"the loss {wrong[0]} is no longer a finite number, so training stopped; last.pt still holds the last "
            "good state: start another run with a smaller --lr."
        )
