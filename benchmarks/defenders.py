"""The defender of a victim: who decomposes it on clean reference pictures, and fits detectors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from attacks import Pictures
from controls import control
from digests import files_of, source_digest
from images import Images, Parts
from observation import observed
from victims import Recipe, Victim, victim

import apd
import mad
from apd.store import is_run
from apd.training.scales import missing
from mad.baselines import Observed


@dataclass(frozen=True)
class Defender:
    """What a defender has.

    Attributes:
        victim: the network, under attack or not.
        reference: clean pictures; a share is decomposed on, the rest fits detectors.
        run: the decomposition.
    """

    victim: Victim
    reference: Pictures
    run: apd.Run

    def found(self) -> dict[str, float]:
        """How the decomposition ended: how sparse, how exact on what is active, how faithful.

        The last two are the outputs' loss over that of no weights, and what no component owns of
        the weights' squares.
        """
        run = self.run
        x = run.target.prepare(self.victim.inputs(self.reference))
        active = apd.recovery.active_components(run, x)
        left = apd.recovery.sparse_losses(run.target, run.components, x, active).mean()
        whole = apd.recovery.faithfulness(run.target, run.components).overall
        return {
            "active": run.active,
            "minimality": float(left / missing(run.target, x, run.config)),
            "faithfulness": whole**2,
        }

    def detector(self, run: apd.Run | None = None) -> mad.Detector:
        """Ours; of a control's components where its run is given."""
        x = self.victim.inputs(self.reference)
        return mad.Detector.fit(run or self.run, x, seed=self.victim.recipe.seed)

    def control(self, name: str) -> mad.Detector:
        """Our detector of components that owe nothing to a decomposition."""
        x = self.run.target.prepare(self.victim.inputs(self.reference))
        return self.detector(control(name, self.run, x[self.run.rows]))

    def trusted(self) -> Observed:
        """What baselines are fitted on: what the detector is."""
        x = self.victim.inputs(self.reference).numpy()
        return self.observed(self.reference[torch.as_tensor(self.run.unseen_rows(x))])

    def observed(self, images: Pictures) -> Observed:
        return observed(self.victim, images)


@dataclass(frozen=True)
class Subject:
    """A victim, and what can be asked about it.

    Attributes:
        victim: the network.
        parts: the pictures.
        config: of decompositions; the seed is the recipe's.
        runs: where decompositions are kept.
    """

    victim: Victim
    parts: Parts
    config: apd.Config
    runs: Path

    @classmethod
    def of(cls, parts: Parts, recipe: Recipe, config: apd.Config, cache: Path) -> Subject:
        """The subject of a recipe, the victim out of the cache if it is there."""
        own = config.model_copy(update={"seed": recipe.seed})
        return cls(victim(parts, recipe, cache / "victims"), parts, own, cache / "runs")

    def defender(self, reference: Images) -> Defender:
        """A defender with that reference; a decomposition that was begun before goes on."""
        x = self.victim.inputs(reference.images)
        directory = self.runs / f"{self.victim.recipe}-{self.fingerprint(reference)}"
        if is_run(directory):
            run = apd.load(directory)
        else:
            run = apd.decompose(self.victim.model, x, self.config, directory=directory)
        return Defender(self.victim, reference.images, run)

    def fingerprint(self, reference: Images) -> str:
        """Twelve digits that change with the victim, the reference, the settings and `apd`."""
        said = self.config.model_dump_json(), source_digest(files_of(apd))
        digest = hashlib.sha256(repr(said).encode())
        for tensor in (*self.victim.model.state_dict().values(), reference.images):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def facts(self) -> dict[str, object]:
        """What every row of this victim says."""
        recipe = self.victim.recipe
        return {
            "architecture": recipe.architecture,
            "attack": recipe.attack,
            "poison": recipe.share,
            "training": recipe.training.name,
            "seed": recipe.seed,
            "side": self.parts.test.side,
            "steps": self.config.steps,
            "accuracy": self.victim.accuracy,
            "success": self.victim.success,
        }
