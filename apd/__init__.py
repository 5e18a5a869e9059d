"""Attribution-based Parameter Decomposition: a network's weights as a sum of mechanisms.

    run = apd.decompose(target, reference)     # an nn.Module and inputs you trust
    run.save("runs/mine"); apd.load("runs/mine")

Read on in `decomposition` (the whole way round), `training` (how components are found), `run` (what
is asked of them), `attribution`, `sites`, `target`.
"""

from apd import recovery
from apd.checkpoint import is_unfinished
from apd.components import Components
from apd.config import Config
from apd.decomposition import decompose
from apd.errors import (
    ApdError,
    ComponentError,
    ConfigError,
    ReferenceError,
    RunError,
    TargetError,
)
from apd.estimate import Estimate, estimate
from apd.from_torch.factory import load_factory
from apd.from_torch.pt2 import load_exported
from apd.run import Run, load
from apd.store import is_run
from apd.target import Target
from apd.training.train import Step

__all__ = [
    "ApdError",
    "ComponentError",
    "Components",
    "Config",
    "ConfigError",
    "Estimate",
    "ReferenceError",
    "Run",
    "RunError",
    "Step",
    "Target",
    "TargetError",
    "decompose",
    "estimate",
    "is_run",
    "is_unfinished",
    "load",
    "load_exported",
    "load_factory",
    "recovery",
]
