"""Every setting of a decomposition, with its default."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apd.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Coefficient = Annotated[float, Field(ge=0)]


class Config(BaseModel):
    """Settings of a decomposition; the coefficients are relative to the target's own scales.

    Unknown and impossible ones raise a `ConfigError`.

    Attributes:
        components: how many parts to look for in every weight, more than there are mechanisms;
            None: two and a half times its larger dimension, at least 50 and at most 200. Those that
            inputs use together become one component (`apd.together`). Where a weight's own rows or
            columns, or sources of what it reads, are its parts they may be 200 whatever this says
            (`apd.simplest`).
        rank: the most a part's rank may be.
        objective: how training asks for few components (`apd.training.objectives`): batch-topk,
            sample-topk and exact-k choose them, lp penalises the attributions of all.
        active: parts of a weight an input uses on average while mechanisms separate, the batch
            top-k's k over the batch size; None: found (`apd.training.sparsity`). The objective lp
            has no k.
        steps: optimiser steps for every weight.
        batch_size: inputs per step, or as many as fit into memory (`apd.training.sizing`).
        learning_rate: the schedule's peak, in lengths of a typical mechanism's vectors per step.
        warmup: share of training in which the learning rate rises to its peak.
        search: share of the steps that look for k, after which the components start again; the
            shares below are of the other steps.
        narrowing: share of training in which k falls from a quarter of the components; share of it,
            and of the search, in which what inputs do not use fades out of the masked pass.
        separation: the minimality loss at which k is held while mechanisms separate.
        exactness: the minimality loss k is raised to reach once they are separate, of all weights
            together: each has an equal share.
        exact_by: share of training by which to reach it; after it the random shares fade out that
            are there of some of what an input does not use (`apd.training.background`).
        merging: cosine from which two parts are taken for one when parts are settled.
        faithfulness: weight of the faithfulness loss over the weights' mean square.
        minimality: weight of log(1 + the minimality loss over that of no components at all).
        simplicity: weight of the simplicity loss over that of as many typical mechanisms as an
            input is expected to exercise.
        schatten_p: p of the simplicity loss's Schatten norm.
        attributions: weight of the objective lp's loss of the attributions over that of a single
            component that is the whole network.
        attribution_p: p of that loss.
        release_start: share of training after which these two penalties are released.
        release_end: share of training at which they are gone.
        projections: how many random projections of the outputs to estimate attributions from, which
            makes a step's cost flat in the number of outputs; None: exact attributions, unless each
            of many outputs would take a backward pass of its own (`apd.strength`).
        loss: how outputs are compared, mean squared error or Kullback-Leibler divergence.
        hidden: sites whose own outputs their masked pass is to reproduce, dotted names with shell
            wildcards.
        reconstruction: weight of the loss of those outputs over that of no components at all.
        sites: which weights to decompose, dotted names with shell wildcards; those after a "!" are
            left whole.
        output: which of a network's outputs is meant, where it has several or a sequence of them:
            "logits", "1", "logits[0]" (`apd.from_torch.outputs`).
        decompose: share of the reference used to decompose; the rest profiles and calibrates.
        seed: fixes the initial components, the rows and the batches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    components: Count | None = None
    rank: Count = 1
    objective: Literal["batch-topk", "sample-topk", "exact-k", "lp"] = "batch-topk"
    active: Positive | None = None
    steps: Count = 5000
    batch_size: Count = 256
    learning_rate: Positive = 0.07
    warmup: Share = 0.05
    search: Annotated[float, Field(ge=0, lt=1)] = 0.2
    narrowing: Share = 0.3
    separation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    exactness: Annotated[float, Field(gt=0, lt=1)] = 0.003
    exact_by: Share = 0.85
    faithfulness: Coefficient = 1.0
    minimality: Coefficient = 2.0
    simplicity: Coefficient = 0.5
    schatten_p: Positive = 0.9
    attributions: Coefficient = 0.5
    attribution_p: Positive = 0.5
    release_start: Share = 0.4
    release_end: Share = 0.6
    merging: Share = 0.8
    projections: Count | None = None
    loss: Literal["mse", "kl"] = "mse"
    hidden: tuple[str, ...] = ()
    reconstruction: Coefficient = 1.0
    sites: tuple[str, ...] = ("*",)
    output: str = ""
    decompose: Annotated[float, Field(gt=0, lt=1)] = 0.4
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="after")
    def _k_is_given_where_it_is_held(self) -> Config:
        if self.objective == "exact-k" and self.active is None:
            raise ConfigError("setting 'active': the objective exact-k needs one to be given")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _in_a_sentence(cls, settings: Any, handler: Callable[[Any], Config]) -> Config:
        try:
            return handler(settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                near = get_close_matches(name, cls.model_fields, n=1)
                nearest = f"; the nearest is {near[0]!r}" if near else ""
                raise ConfigError(f"there is no setting {name!r}{nearest}") from error
            raise ConfigError(f"setting {name!r}: {first['msg']}") from error

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Config:
        """Settings from outside.

        Raises:
            ConfigError: one sentence naming the first unknown or impossible setting.
        """
        return cls.model_validate(settings)
