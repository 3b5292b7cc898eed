"""What is served: public names to models inside Triton, and what each takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cgan_runtime.gateway.refusal import Refusal, unknown_model
from cgan_runtime.gateway.settings import Route
from cgan_runtime.serving.signature import ModelKind, ServedTensor, inputs_of, model_suffix, outputs_of

__all__ = ["ServedModel", "Table"]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model as clients know it.

    Attributes:
        name: public name.
        inner: its name inside Triton.
        kind: what it takes.
        route: the bundle that it belongs to.
        inputs: what it takes, by name.
        outputs: what it gives, in order.
    """

    name: str
    inner: str
    kind: ModelKind
    route: Route
    inputs: dict[str, ServedTensor]
    outputs: tuple[ServedTensor, ...]

    @property
    def made_by(self) -> dict[str, str]:
        """What every answer says of its origin."""
        route = self.route
        return {"model_digest": route.model_digest, "artifact": route.artifact, "runtime": route.runtime}


@dataclass
class Table:
    """The models by public name. Routes may change at any time; a request keeps the model that it found."""

    _models: dict[str, ServedModel] = field(default_factory=dict)

    def replace(self, routes: Iterable[Route]) -> None:
        """Serve these routes and no others."""
        self._models = {model.name: model for route in routes for model in _models_of(route)}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def routes(self) -> list[Route]:
        """Every bundle, once."""
        return list({model.route.name: model.route for model in self}.values())

    def find(self, name: str, version: str = "") -> ServedModel:
        """The model of a public name.

        Raises:
            Refusal: there is none, or not in this version.
        """
        model = self._models.get(name)
        if model is None:
            raise unknown_model(name, sorted(self._models))
        if version not in ("", str(model.route.version)):
            raise Refusal(
                f"version {version[:20]} of {name} is not served; version {model.route.version} is.",
                status=404,
                reason="unknown_model",
            )
        return model


def _models_of(route: Route) -> Iterator[ServedModel]:
    for kind, inner in route.models.items():
        yield ServedModel(
            name=f"{route.name}{model_suffix(kind)}",
            inner=inner,
            kind=kind,
            route=route,
            inputs={tensor.name: tensor for tensor in inputs_of(kind, route.contract)},
            outputs=outputs_of(kind, route.contract),
        )
