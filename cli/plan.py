"""What to train: where target and reference come from, and the settings; kept with the run.

`train.json` in a run directory lets `apd train --resume` go on without anything repeated. It holds
strings and numbers only, and nothing in it is trusted: apd itself refuses a checkpoint of another
target, other settings or another reference.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cli import settings
from cli.errors import InputError, reason
from cli.files import write_whole

FILE = "train.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What one run is made of.

    Attributes:
        target: a toy's directory, `module:factory`, or an .onnx or .pt2 file; None for the embedded
            example.
        reference: an .npz file; None for a toy's own.
        weights: a safetensors file; None for what the factory makes.
        key: which array of the reference file.
        device: where to compute, "auto" for a GPU where there is one.
        decomposition: fields of apd.Config.
    """

    target: str | None = None
    reference: str | None = None
    weights: str | None = None
    key: str | None = None
    device: str = "auto"
    decomposition: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call a run of this."""
        if self.target is None:
            return "digits"
        return self.target.rpartition(":")[2] if is_factory(self.target) else Path(self.target).name

    def over(self, given: Mapping[str, str | None], decomposition: Mapping[str, Any]) -> "Plan":
        """This plan with what a person gave, None meaning not given."""
        return replace(
            self,
            **{name: value for name, value in given.items() if value is not None},
            decomposition={
                **self.decomposition,
                **{name: value for name, value in decomposition.items() if value is not None},
            },
        )


def is_factory(target: str) -> bool:
    """Whether a target is given as `module:factory`."""
    return ":" in target and not Path(target).exists()


def absolute(target: str) -> str:
    """A target that means the same in any working directory."""
    return target if is_factory(target) else str(Path(target).absolute())


def recorded(run: Path) -> Plan | None:
    """The plan a run directory was begun with, or None where it says nothing.

    Raises:
        InputError: the record is damaged, or of another format version.
    """
    from pydantic import TypeAdapter

    path = run / FILE
    try:
        content = json.loads(path.read_text())
        version = content.pop("format_version")
        if version == FORMAT_VERSION:
            return TypeAdapter(Plan).validate_python(asdict(Plan(**content)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged or was not written by `apd train`") from error
    raise InputError(f"{path} has format version {version}; this version reads {FORMAT_VERSION}")


def record(plan: Plan, run: Path) -> None:
    """Keeps the plan with its run, whole or not at all.

    Raises:
        OutputError: the directory cannot be written.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **asdict(plan)}, indent=2) + "\n"
    run.mkdir(parents=True, exist_ok=True)
    write_whole(run / FILE, lambda stream: stream.write(text.encode()))


def from_file(file: settings.Settings) -> tuple[Plan, Path | None]:
    """The plan an `apd.toml` describes, and where it wants the run."""
    given = dict(file.train)
    out = given.pop("out", None)
    for name in ("reference", "weights"):
        if name in given:
            given[name] = str(Path(given[name]).absolute())
    if "target" in given:
        given["target"] = absolute(given["target"])
    return Plan(**given, decomposition=file.decomposition), Path(out) if out else None
