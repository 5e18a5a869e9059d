"""A decomposed network in ONNX: what `apd.Run` answers, as values of a graph.

There is no automatic differentiation in it: the gradient of an output goes back by the rules of
`apd.to_onnx.rules`, and a component's attribution is read times adjoint (`apd.to_onnx.parts`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from apd.errors import TargetError
from apd.output_gradients import fixed_directions
from apd.run import Run
from apd.to_onnx.parts import Parts, bias_of, parts_of
from apd.to_onnx.rules import RULES
from apd.to_onnx.steps import Step, Value, steps_of
from apd.to_onnx.writer import Writer

# of a step, with its arguments: the name of its result
Substitute = Callable[[Step, Sequence[Any]], str]


class Network:
    """A run's target and components, written into a graph as they are asked for.

    Args:
        writer: the graph.
        run: the decomposed network.
        x: the value that is the inputs.

    Raises:
        TargetError: the target calls operators that cannot be exported.
    """

    def __init__(self, writer: Writer, run: Run, x: str) -> None:
        self._writer, self._run, self._x = writer, run, x
        self._steps = steps_of(run.target)
        check_operators(self._steps)
        by_name = {step.result.name: step for step in self._steps}
        self._components = run.living.components
        self._parts = {
            use.node: parts_of(use, by_name[use.node], self._components) for use in run.target.uses
        }
        self._values = self._forward(self._steps, {})

    @property
    def width(self) -> int:
        """How many outputs there are."""
        return self._steps[-1].result.shape[0]

    @property
    def inputs(self) -> int:
        """How many coordinates an input has."""
        return math.prod(self._run.input_shape)

    @property
    def outputs(self) -> str:
        """The target's outputs [n, d]."""
        return self._values[self._run.target.graph.output]

    def attributions(self, seed: str) -> str:
        """What every component contributes, [n, C], at first order.

        Args:
            seed: how much of every output is explained, [n, d].
        """
        return self._among_all(self._effects(seed))

    def strengths(self) -> str:
        """By which components are active, [n, C] (`apd.strength.row_strengths`)."""
        w = self._writer
        shape = w.call("Shape", self.outputs)
        effects = [
            self._effects(w.call("Expand", w.number(direction[None]), shape))
            for direction in fixed_directions(self.width)
        ]
        total = w.call("Mul", effects[0], effects[0])
        for effect in effects[1:]:
            total = w.call("Add", total, w.call("Mul", effect, effect))
        strengths = w.call("Sqrt", w.call("Div", total, w.number(float(self.width))))
        return self._among_all(strengths)

    def input_effects(self, seed: str) -> str:
        """What came in through every coordinate of the inputs, [n, p].

        Args:
            seed: how much of every output is explained, [n, d].
        """
        w = self._writer
        effects = w.call("Mul", self._x, self._backward(seed)[self._run.target.graph.input])
        return w.call("Reshape", effects, w.integers(-1, self.inputs))

    def masked_outputs(self, mask: str) -> str:
        """The outputs on some components alone [n, d].

        Args:
            mask: which, as ones and zeros [n, C].
        """
        w = self._writer
        on = w.call("Gather", mask, w.integers(*self._run.living.places.tolist()), axis=1)

        def masked(parts: Parts) -> Substitute:
            def call(step: Step, args: Sequence[Any]) -> str:
                y, bias = parts.masked(w, args[0], on), bias_of(w, parts)
                return y if bias is None else w.call("Add", y, bias)

            return call

        values = self._forward(self._steps, {n: masked(p) for n, p in self._parts.items()})
        return values[self._run.target.graph.output]

    def outputs_on(self, components: Iterable[int]) -> str:
        """The outputs of some components together [n, d], the same for all inputs."""
        steps = steps_of(self._run.target_on(components))
        return self._forward(steps, {})[self._run.target.graph.output]

    def _effects(self, seed: str) -> str:
        """What every component that is not zero contributes."""
        w, count = self._writer, self._components.count
        gradients = self._backward(seed)
        effects = [
            parts.effects(w, self._values[parts.step.args[0].name], gradients[node], count)
            for node, parts in self._parts.items()
        ]
        total = effects[0]
        for effect in effects[1:]:
            total = w.call("Add", total, effect)
        return total

    def _among_all(self, x: str) -> str:
        """Numbers of the components that are not zero, and zero for the others, [n, C]."""
        w, living = self._writer, self._run.living
        columns = {c: column for column, c in enumerate(living.places.tolist())}
        chosen = (columns.get(c, len(columns)) for c in range(living.count))
        padded = w.call("Pad", x, w.integers(0, 0, 0, 1))
        return w.call("Gather", padded, w.integers(*chosen), axis=1)

    def _forward(self, steps: Sequence[Step], instead: Mapping[str, Substitute]) -> dict[str, str]:
        """Every value's name in the graph, by its name in the target."""
        values = {self._run.target.graph.input: self._x}
        for step in steps:
            name, args = step.result.name, named(step.args, values)
            if name in instead:
                values[name] = instead[name](step, args)
            else:
                values[name] = forward(self._writer, step, args)
        return values

    def _backward(self, seed: str) -> dict[str, str]:
        """The gradient at every value, by its name in the target, from that at the outputs."""
        w = self._writer
        gradients = {self._run.target.graph.output: seed}
        for step in reversed(self._steps):
            name, args = step.result.name, named(step.args, self._values)
            if name not in gradients:
                continue
            found = RULES[step.op].backward(
                w, step, self._values[name], gradients[name], *args, **step.kwargs
            )
            for arg, g in zip(step.args, found, strict=False):
                if isinstance(arg, Value) and g is not None:
                    known = gradients.get(arg.name)
                    gradients[arg.name] = g if known is None else w.call("Add", known, g)
        return gradients


def named(args: Sequence[Any], values: Mapping[str, str]) -> list[Any]:
    """A step's arguments, values by their names in the graph."""
    return [values[arg.name] if isinstance(arg, Value) else arg for arg in args]


def forward(w: Writer, step: Step, args: Sequence[Any]) -> str:
    """The name of a step's result.

    Raises:
        TargetError: its operator cannot be exported with such arguments.
    """
    try:
        return RULES[step.op].forward(w, step, *args, **step.kwargs)
    except TypeError as error:
        raise TargetError(
            f"{step.op} cannot be exported with the arguments the target calls it with"
        ) from error


def check_operators(steps: Sequence[Step]) -> None:
    """Refuse a target with calls that cannot be exported.

    Raises:
        TargetError: with their operators, and those that can be.
    """
    unknown = dict.fromkeys(step.op for step in steps if step.op not in RULES)
    if unknown:
        raise TargetError(
            f"the target calls {', '.join(unknown)}, which cannot be exported; what can be is "
            f"{', '.join(sorted(RULES))}"
        )
