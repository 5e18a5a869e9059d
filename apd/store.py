"""The run directory of a finished run.

run.json                manifest, written last: versions, fingerprints, settings, graph, hashes
target.safetensors      the target's tensors
components.safetensors  U and V of every site, and which component each of their parts belongs to
training.safetensors    the reference rows trained on, their hashes, and every step's record
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import ValidationError
from torch import Tensor

from apd.components import Components
from apd.config import Config
from apd.errors import ApdError, RunError
from apd.files import read_json, read_tensors, reason, write_json, write_tensors
from apd.graph import Graph
from apd.sites import Factors, sites_named
from apd.target import Target
from apd.training.train import Step

FORMAT = "apd run"
FORMAT_VERSION = 4

MANIFEST = "run.json"
TARGET = "target.safetensors"
COMPONENTS = "components.safetensors"
TRAINING = "training.safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class Saved:
    """What a finished run directory holds.

    Attributes:
        target: the network.
        components: what it was decomposed into.
        active: how many of them an input uses on average.
        config: the settings.
        rows: the rows of the reference that were trained on.
        hashes: of those rows' values (`apd.reference.row_hashes`).
        reference_fingerprint: of the whole reference.
        steps: every step's record.
        kinds: what the parts of every weight are (`apd.assembly.Found`), by site.
    """

    target: Target
    components: Components
    active: float
    config: Config
    rows: Int[Tensor, "rows"]
    hashes: Int[Tensor, "rows"]
    reference_fingerprint: str
    steps: list[Step]
    kinds: Mapping[str, str]


def is_run(directory: Path | str) -> bool:
    """Whether a finished run is there."""
    return (Path(directory) / MANIFEST).is_file()


def claim(directory: Path) -> None:
    """Make a directory that a run can be written to.

    Raises:
        RunError: a finished run is there already, or the directory cannot be made.
    """
    if is_run(directory):
        raise RunError(f"{directory} already holds a run")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{directory} cannot be written: {reason(error)}") from error


def write_run(directory: Path, saved: Saved) -> None:
    """Write a finished run; the manifest comes last, so a directory that has one is whole.

    Raises:
        RunError: a finished run is there already, or the directory cannot be written.
    """
    claim(directory)
    write_tensors(directory / TARGET, dict(saved.target.state))
    components = saved.components
    owners = {f"owner/{site}": owner for site, owner in components.owners.items()}
    write_tensors(directory / COMPONENTS, factor_tensors(components.factors) | owners)
    write_tensors(
        directory / TRAINING,
        {
            "rows": saved.rows,
            "hashes": saved.hashes,
            **history_tensors(saved.steps),
        },
    )
    write_json(
        directory / MANIFEST,
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "package_version": version("apd"),
            "target_fingerprint": saved.target.fingerprint,
            "reference_fingerprint": saved.reference_fingerprint,
            "seed": saved.config.seed,
            "active": saved.active,
            "config": saved.config.model_dump(mode="json"),
            "sites": list(saved.target.sites),
            "kinds": dict(saved.kinds),
            "graph": saved.target.graph.model_dump(mode="json"),
            "sha256": {n: file_hash(directory / n) for n in (TARGET, COMPONENTS, TRAINING)},
        },
    )


def read_run(directory: Path) -> Saved:
    """Read a finished run back.

    Raises:
        RunError: it is missing, truncated, altered, or of another format version.
    """
    if not directory.is_dir():
        raise RunError(f"there is no run directory {directory}")
    if not is_run(directory):
        raise RunError(f"{directory} holds no finished run")
    manifest = read_json(directory / MANIFEST)
    check_format(directory, manifest)
    state, found = read_tensors(directory / TARGET), read_tensors(directory / COMPONENTS)
    training = read_tensors(directory / TRAINING)
    try:
        graph = Graph.model_validate(manifest["graph"])
        target = Target(graph, state, sites_named(graph, state, manifest["sites"]))
        saved = Saved(
            target=target,
            components=Components(
                factors_from(found, target.sites),
                {site: found[f"owner/{site}"] for site in target.sites},
            ),
            active=float(manifest["active"]),
            config=Config.of(manifest["config"]),
            rows=training["rows"],
            hashes=training["hashes"],
            reference_fingerprint=manifest["reference_fingerprint"],
            steps=steps_from(training, target.sites),
            kinds={site: str(manifest["kinds"][site]) for site in target.sites},
        )
        expected = manifest["target_fingerprint"]
    except (ApdError, ValidationError, KeyError, TypeError, ValueError) as error:
        what = " ".join(str(error).split())
        raise RunError(f"{directory / MANIFEST} does not describe a run: {what}") from error
    if target.fingerprint != expected:
        raise RunError(f"{directory} belongs to another target: the fingerprints differ")
    return saved


def check_format(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a directory of another format or version, and files that are not as written.

    Raises:
        RunError: with what is wrong.
    """
    if manifest.get("format") != FORMAT:
        raise RunError(f"{directory / MANIFEST} is not the manifest of a run")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise RunError(
            f"{directory} has run format version {manifest.get('format_version')}; "
            f"this version of apd reads {FORMAT_VERSION}"
        )
    digests = manifest.get("sha256")
    for name in (TARGET, COMPONENTS, TRAINING):
        if not isinstance(digests, dict) or file_hash(directory / name) != digests.get(name):
            raise RunError(f"{directory / name} is truncated or was altered")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        RunError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason(error)}") from error


def factor_tensors(factors: Mapping[str, Factors]) -> dict[str, Tensor]:
    """U and V of every site by name, as safetensors hold them."""
    return {
        f"{letter}/{site}": tensor
        for site, own in factors.items()
        for letter, tensor in zip("UV", own, strict=True)
    }


def factors_from(tensors: Mapping[str, Tensor], sites: Iterable[str]) -> dict[str, Factors]:
    """The factors `factor_tensors` wrote.

    Raises:
        KeyError: a site's are missing.
    """
    return {site: Factors(tensors[f"U/{site}"], tensors[f"V/{site}"]) for site in sites}


def history_tensors(steps: Sequence[Step]) -> dict[str, Float[Tensor, "_steps _fields"]]:
    """Every step's numbers as a row of float64, which holds them exactly, per site."""
    rows: dict[str, list[list[float]]] = {}
    for step in steps:
        site, *numbers = vars(step).values()
        rows.setdefault(site, []).append(numbers)
    return {f"history/{site}": torch.tensor(own, dtype=torch.float64) for site, own in rows.items()}


def steps_from(tensors: Mapping[str, Tensor], sites: Iterable[str]) -> list[Step]:
    """The records `history_tensors` wrote, in the order of the sites."""
    return [
        Step(site, int(row[0]), *row[1:])
        for site in sites
        if f"history/{site}" in tensors
        for row in tensors[f"history/{site}"].tolist()
    ]
