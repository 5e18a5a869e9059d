"""A run: one target, decomposed; kept in a directory, asked by a detector."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from apd.batch_sizes import rows_at_once
from apd.components import Living
from apd.explanation import Explained, as_array, explain, explain_positions
from apd.inputs import Arrays, pack, tensor_of
from apd.masked import masked_outputs
from apd.pairs import Pairs
from apd.reference import others
from apd.store import Saved, read_run, write_run
from apd.surgery import Operated, ablate, only, sum_of
from apd.target import Target
from apd.threads import threads_for


@dataclass(frozen=True, eq=False)
class Run(Saved):
    """A decomposed target, with what `apd.store.Saved` holds.

    Arrays in, arrays out, every row's numbers a function of that row, as `mad.Decomposition` asks.
    """

    def __repr__(self) -> str:
        """How large it is."""
        return f"<apd.Run of {self.components.count} components at {', '.join(self.sites)}>"

    @property
    def sites(self) -> tuple[str, ...]:
        """The dotted names of the decomposed weights, in the order of the attributions."""
        return tuple(self.target.sites)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.target.input_shape

    @property
    def ranks(self) -> Float[np.ndarray, "C"]:
        """Effective rank of every component, summed over sites; 0 for a dead one."""
        return self.components.ranks().numpy()

    @property
    def rows_at_once(self) -> int:
        """How many inputs to ask about at a time: a power of two, bounded in memory."""
        return rows_at_once(self.target, self.components.numbers_read)

    @property
    def fingerprint(self) -> str:
        """A hash of the target and its components."""
        digest = hashlib.sha256(self.target.fingerprint.encode())
        for tensor in (*self.components.tensors(), *self.components.owners.values()):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def unseen_rows(self, reference: Shaped[np.ndarray, "n *shape"]) -> Int[np.ndarray, "unseen"]:
        """The rows of any reference that the components were not trained on, told by their values.

        Of equal rows, as many as were trained on count as those.
        """
        return others(self.target.prepare(reference), self.hashes)

    def explain(self, x: Shaped[np.ndarray, "n *shape"], output: str | int) -> Explained:
        """Outputs, and what components and inputs contributed to them at first order, as arrays.

        Args:
            x: inputs.
            output: "predicted" (each input's largest output), the index of one output, or "all".

        Returns:
            Outputs [n, d], attributions [n, C] over all sites, strengths [n, C], and effects [n, p]
            of what came in through every coordinate of an input; in units of the output, signed
            towards one, the root mean square over "all". Strengths, by which components are ranked,
            are the root mean square over outputs in any case, along fixed random directions of them
            where they are many (`apd.output_gradients.fixed_directions`).

        Raises:
            TargetError: there is no such output, or the inputs are none of the target's.
        """
        with self.differentiating(len(x)):
            living = self.living
            found = explain(self.target, living.components, self.target.prepare(x), output)
            whole = found._replace(
                attributions=living.among_all(found.attributions),
                strengths=living.among_all(found.strengths),
            )
            return Explained(*map(as_array, whole))

    def explain_positions(
        self, x: Shaped[np.ndarray, "n *shape"], output: str | int
    ) -> tuple[Float[np.ndarray, "n d"], dict[tuple[int, ...], Float[np.ndarray, "n ..."]]]:
        """Outputs, and where in the inputs the attributions to one of them arise.

        Returns:
            Outputs; the positions weights are applied at -> attributions [n, *positions, C], all
            together those of `explain` (`apd.attribution.positional_attributions`).
        """
        with self.differentiating(len(x)):
            prepared = self.target.prepare(x)
            own = self.living.components
            outputs, found = explain_positions(self.target, own, prepared, output)
            return as_array(outputs), {
                places: as_array(self.living.among_all(part)) for places, part in found.items()
            }

    def pack(self, inputs: Arrays) -> Shaped[np.ndarray, "n *shape"]:
        """Inputs by the names of the target's own as the rows of one array, as all else takes them.

        Raises:
            TargetError: they do not fit.
        """
        return pack(self.target.graph.parts, inputs).numpy()

    def masked_outputs(
        self, x: Shaped[np.ndarray, "n *shape"], mask: Bool[np.ndarray, "n C"]
    ) -> Float[np.ndarray, "n d"]:
        """f(x; kappa(x)): each input run on the components its mask names, and nothing else."""
        living = self.living
        on = tensor_of(mask).to(self.target.device)[:, living.places]
        pairs = Pairs.dense(on, self.target.dtype)
        with torch.no_grad(), self.threads(len(x)):
            return as_array(
                masked_outputs(self.target, living.components, self.target.prepare(x), pairs)
            )

    def outputs_on(
        self, x: Shaped[np.ndarray, "n *shape"], components: Iterable[int]
    ) -> Float[np.ndarray, "n d"]:
        """The outputs on some components alone, the same for all: weights sum P_c over those.

        Raises:
            ComponentError: one of them is not there.
        """
        with self.threads(len(x)):
            return as_array(self.target_on(components)(self.target.prepare(x)))

    def outputs_without(
        self, x: Shaped[np.ndarray, "n *shape"], components: Iterable[int]
    ) -> Float[np.ndarray, "n d"]:
        """The outputs without some components: weights theta* - sum P_c over those.

        Raises:
            ComponentError: one of them is not there.
        """
        removed = sum_of(self.components, components)
        weights = {site: self.target.weight(site) - p for site, p in removed.items()}
        with self.threads(len(x)):
            return as_array(self.target.with_weights(weights)(self.target.prepare(x)))

    def ablate(self, components: Iterable[int]) -> Operated:
        """The target without some components, as a network: weights theta* - sum P_c over those.

        Raises:
            ComponentError: one of them is not there.
        """
        return ablate(self.target, self.components, components)

    def only(self, components: Iterable[int]) -> Operated:
        """The target on some components alone, as a network: weights sum P_c over those.

        Raises:
            ComponentError: one of them is not there.
        """
        return only(self.target, self.components, components)

    def threads(self, rows: int) -> AbstractContextManager[None]:
        """The number of threads worth using for that many inputs at a time."""
        return threads_for(self.target, self.components.numbers_read, rows)

    @contextmanager
    def differentiating(self, rows: int) -> Generator[None]:
        """The same, and gradients whatever mode the caller is in."""
        with self.threads(rows), torch.inference_mode(False), torch.enable_grad():
            yield

    @cached_property
    def living(self) -> Living:
        """The components that are worked with; the others contribute nothing."""
        return self.components.living()

    def target_on(self, components: Iterable[int]) -> Target:
        """The target with the sum of some components for weights; the last one is kept.

        Raises:
            ComponentError: one of them is not there.
        """
        chosen = tuple(components)
        made = self._last.get(chosen)
        if made is None:
            made = self.target.with_weights(sum_of(self.components, chosen))
            self._last.clear()
            self._last[chosen] = made
        return made

    @cached_property
    def _last(self) -> dict[tuple[int, ...], Target]:
        return {}

    def save(self, directory: Path | str) -> None:
        """Write the run as a directory of safetensors and JSON.

        Raises:
            RunError: a run is there already, or the directory cannot be written.
        """
        write_run(Path(directory), self)


@torch.inference_mode(False)
def load(directory: Path | str) -> Run:
    """Read a run back from its directory.

    Raises:
        RunError: it is missing, truncated, altered, or of another format version.
    """
    saved = read_run(Path(directory))
    return Run(**vars(saved))
