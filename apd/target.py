"""The target: the frozen network under study."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from apd.errors import TargetError
from apd.from_torch.adapted import Example
from apd.from_torch.checks import check_outputs, check_uses
from apd.from_torch.trace import trace
from apd.graph import CONSTANTS, Graph, Handler
from apd.inputs import Arrays, pack, tensor_of
from apd.sites import Site, Use, find_sites, matching, matrices_of


@dataclass(frozen=True, eq=False)
class Target:
    """A frozen network as data, with the sites that are to be decomposed.

    Attributes:
        graph: what it computes.
        state: its parameters and buffers, by dotted name; never written to.
        sites: the weights under study, by dotted name.
    """

    graph: Graph
    state: Mapping[str, Tensor]
    sites: Mapping[str, Site]

    @classmethod
    def of(
        cls,
        module: nn.Module,
        example: Example,
        patterns: Sequence[str] = ("*",),
        output: str = "",
    ) -> Target:
        """Freeze a module.

        Args:
            module: any network `torch.export` can follow; it is copied and left as it is.
            example: two or more inputs, by the names of the module's own where it takes several.
            patterns: which parameters to decompose, by dotted name with shell wildcards; buffers
                stay whole.
            output: which of the module's outputs is meant, where there are several, and at which
                position, where not at the last: "logits", "1", "logits[0]"
                (`apd.from_torch.outputs`).

        Raises:
            TargetError: the module cannot be followed, a weight cannot be decomposed or is not
                finite, or there is no such output, of one vector for each input.
        """
        graph, state = trace(module, example, output)
        x = pack(graph.parts, example) if isinstance(example, Mapping) else example
        device = next((tensor.device for tensor in state.values()), x.device)
        x = x.to(device, CONSTANTS[graph.input_dtype])
        parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
        refuse_lost(state, parameters)
        check_outputs(graph, state, x[:2])
        weights = {name: state[name] for name in state if name in parameters}
        target = cls(graph, state, find_sites(graph, weights, patterns))
        check_uses(graph, state, target.uses, x[:2])
        return target

    def __call__(self, x: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """The network's own outputs, without gradients."""
        with torch.no_grad():
            return self.run(x, {})

    def run(
        self, x: Shaped[Tensor, "n *shape"], handlers: Mapping[str, Handler]
    ) -> Float[Tensor, "n d"]:
        """The outputs with some calls of the graph replaced; see `Graph.run`.

        Raises:
            TargetError: an input names an entry that a table does not have.
        """
        try:
            return self.graph.run(self.state, x, handlers)
        except IndexError as error:
            raise TargetError("an input names an entry that a table does not have") from error

    def weight(self, site: str) -> Float[Tensor, "o i"]:
        """The weight of a site, as a matrix."""
        return self.state[site].flatten(1)

    def with_weights(self, weights: Mapping[str, Tensor]) -> Target:
        """The same network with some tensors replaced; those of sites may be given as matrices."""
        shaped = {name: w.reshape(self.state[name].shape) for name, w in weights.items()}
        return Target(self.graph, {**self.state, **shaped}, self.sites)

    def matching(self, patterns: Sequence[str]) -> Target:
        """The same network with those of its sites under study that match any of the patterns.

        Raises:
            TargetError: a pattern matches no weight, or no site is left.
        """
        weights = list(dict.fromkeys(matrices_of(self.graph, self.state).values()))
        names = set(matching(weights, patterns))
        sites = {name: site for name, site in self.sites.items() if name in names}
        if not sites:
            raise TargetError(
                f"the sites {list(patterns)} leave nothing of {', '.join(self.sites)}"
            )
        return Target(self.graph, self.state, sites)

    def alone(self, site: str) -> Target:
        """The same network with that weight under study, and no other."""
        return Target(self.graph, self.state, {site: self.sites[site]})

    def to(self, device: torch.device) -> Target:
        """The same network on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.state.items()}
        return Target(self.graph, moved, self.sites)

    def prepare(
        self,
        x: Shaped[Tensor, "n *shape"] | Shaped[np.ndarray, "n *shape"] | Arrays,
    ) -> Shaped[Tensor, "n *shape"]:
        """Inputs as the target takes them: on its device, floats in its precision, names packed.

        Raises:
            TargetError: the shape is not the target's, integers meet floats or are too large for
                the target's own, or names are missing.
        """
        tensor = pack(self.graph.parts, x) if isinstance(x, Mapping) else tensor_of(x)
        if tuple(tensor.shape[1:]) != self.input_shape:
            raise TargetError(
                f"an input has shape {tuple(tensor.shape[1:])}; the target takes {self.input_shape}"
            )
        if tensor.is_floating_point() != self.input_dtype.is_floating_point:
            raise TargetError(f"the inputs are {tensor.dtype}; the target takes {self.input_dtype}")
        found = tensor.to(self.device, self.input_dtype)
        if not found.is_floating_point() and bool((found.to(tensor) != tensor).any()):
            raise TargetError(f"the inputs hold whole numbers too large for {self.input_dtype}")
        return found

    @property
    def uses(self) -> list[Use]:
        """Every use of every site."""
        return [use for site in self.sites.values() for use in site.uses]

    @cached_property
    def positions(self) -> dict[str, int]:
        """How many vectors of one input every use's weight is applied to, by the use's node."""
        return {node: positions for node, (positions, _) in self.vectors.items()}

    @cached_property
    def vectors(self) -> dict[str, tuple[int, int]]:
        """The same, and how many numbers such a vector and what is made of it have together."""
        found: dict[str, tuple[int, int]] = {}

        def look(use: Use) -> Handler:
            def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
                operand, _ = use.operands(args)
                y = operator(*args)
                positions = math.prod(operand.shape[1:-1])
                found[use.node] = positions, operand.shape[-1] + y.numel() // positions
                return y

            return call

        with torch.no_grad():
            self.run(self.zeros(), {use.node: look(use) for use in self.uses})
        return found

    def zeros(self) -> Shaped[Tensor, "1 *shape"]:
        """An input of nothing but zeros."""
        return torch.zeros(1, *self.input_shape, dtype=self.input_dtype, device=self.device)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.graph.input_shape

    @property
    def input_dtype(self) -> torch.dtype:
        """The type of the inputs."""
        return CONSTANTS[self.graph.input_dtype]

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type the sites compute in."""
        return next(self.state[name].dtype for name in self.sites)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.state[name].device for name in self.sites)

    @property
    def fingerprint(self) -> str:
        """A hash of the computation, the weights and the choice of sites."""
        digest = hashlib.sha256(self.graph.model_dump_json().encode())
        digest.update("\n".join(self.sites).encode())
        for name in sorted(self.state):
            tensor = self.state[name].cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(
                tensor.view(torch.uint8).numpy().tobytes()
                if tensor.ndim
                else str(tensor.item()).encode()
            )
        return digest.hexdigest()


def refuse_lost(state: Mapping[str, Tensor], parameters: Collection[str]) -> None:
    """Refuse tensors that are no numbers; buffers may be infinite, as masks of attention are.

    Raises:
        TargetError: with the first one.
    """
    for name, tensor in state.items():
        if bool(tensor.isnan().any()) or (name in parameters and bool(tensor.isinf().any())):
            raise TargetError(f"the target's {name} holds NaN or infinity")
