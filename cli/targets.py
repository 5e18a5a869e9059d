"""From a plan to what is decomposed: a network and the inputs it is trusted on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli import inputs, mode
from cli.errors import InputError
from cli.fitting import as_kind, numpy_type
from cli.plan import Plan, is_factory

if TYPE_CHECKING:
    import torch
    from torch import nn

    import apd
    from toys import Toy

TOY_HEADER = "toy.json"
TOY_REFERENCE = "reference.npz"
EXAMPLE = "digits"

# suffix -> why it is refused
REFUSED = {
    ".pt2": "a .pt2 file holds pickles, which could execute code: if you made it yourself, "
    "say --trust",
    ".pt": "TorchScript files and pickles could execute code",
    ".pth": "pickles could execute code",
    ".pkl": "pickles could execute code",
    ".ckpt": "pickles could execute code",
    ".bin": "pickles could execute code",
    ".safetensors": "a .safetensors file holds weights alone",
}
ONNX, EXPORTED = ".onnx", ".pt2"
INSTEAD = (
    "give an .onnx file, or package.module:factory with its weights as --weights file.safetensors"
)


@dataclass(frozen=True)
class Material:
    """A network, its reference, and the toy they came from where they came from one.

    One that takes several inputs is a target already, and every row of the reference holds them
    all.
    """

    module: nn.Module | apd.Target
    reference: inputs.Array
    toy: Toy | None


def gather(plan: Plan, *, trust: bool = False) -> Material:
    """The network and the reference of a plan.

    Args:
        plan: what the run is made of.
        trust: whether the target may execute code when it is read; never kept with the run.

    Raises:
        InputError: the target is of a form that is not read, or the reference cannot be used.
        apd.TargetError: the factory cannot be imported or fails, or the weights do not fit; the
            ONNX file cannot be imported, or computes something else once it is.
        toys.ToyError: the toy's directory is damaged.
    """
    if plan.target is None:
        return _example(plan)
    if is_factory(plan.target):
        return _factory(plan, plan.target)
    if Path(plan.target).suffix == ONNX:
        return _onnx(plan, Path(plan.target))
    if Path(plan.target).suffix == EXPORTED and trust:
        return _exported(plan, Path(plan.target))
    return _toy(plan, Path(plan.target))


def toy_of(plan: Plan) -> Toy | None:
    """The toy a plan's target is, or None where it is not one or is there no more.

    Raises:
        toys.ToyError: the toy's directory is damaged.
    """
    import toys

    if plan.target is None:
        return toys.make(EXAMPLE, _seed(plan))
    there = not is_factory(plan.target) and (Path(plan.target) / TOY_HEADER).is_file()
    return toys.load(Path(plan.target)) if there else None


def _example(plan: Plan) -> Material:
    import toys

    toy = toys.make(EXAMPLE, _seed(plan))
    return Material(toy.model, toy.reference.numpy(), toy)


def _seed(plan: Plan) -> int:
    import apd

    return apd.Config.of(dict(plan.decomposition)).seed


def _toy(plan: Plan, path: Path) -> Material:
    if path.suffix in REFUSED and not path.is_dir():
        raise InputError(f"{path}: {REFUSED[path.suffix]}; {INSTEAD}")
    if not path.exists():
        raise InputError(f"there is no {path}; give a toy's directory or package.module:factory")
    if not (path / TOY_HEADER).is_file():
        raise InputError(f"{path} is not a toy's directory (no {TOY_HEADER} in it); {INSTEAD}")
    if plan.weights is not None:
        raise InputError(f"{path} is a toy, which has its own weights; leave out --weights")
    import toys

    toy = toys.load(path)
    reference = Path(plan.reference) if plan.reference else path / TOY_REFERENCE
    return Material(toy.model, _reference(toy.model, reference, plan.key), toy)


def _factory(plan: Plan, target: str) -> Material:
    if plan.reference is None:
        raise InputError(f"{target} needs inputs you trust; give them as --reference file.npz")
    import apd

    inputs.arrays(Path(plan.reference))
    if "" not in sys.path:
        sys.path.insert(0, "")
    module = apd.load_factory(target, Path(plan.weights) if plan.weights else None)
    if plan.weights is None:
        from cli.console import say, screen

        say(screen(), f"No --weights given: the weights are those that {target} makes.")
    mode.say(module)
    return _with_reference(plan, module, Path(plan.reference))


def _exported(plan: Plan, path: Path) -> Material:
    if plan.weights is not None:
        raise InputError(f"{path} has its own weights; leave out --weights")
    if plan.reference is None:
        raise InputError(f"{path} needs inputs you trust; give them as --reference file.npz")
    import apd

    return _with_reference(plan, apd.load_exported(path), Path(plan.reference))


def _with_reference(plan: Plan, module: nn.Module, path: Path) -> Material:
    """A network with the array in a file, or with those that it takes under their names."""
    import torch

    import apd
    from apd.target import Target
    from cli.named import several

    names = [] if plan.key else several(module, path)
    if not names:
        return Material(module, _reference(module, path, plan.key), None)
    config = apd.Config.of(dict(plan.decomposition))
    typed = _typed(module, path, {name: inputs.read(path, name) for name in names})
    example = {name: torch.as_tensor(array[:2]) for name, array in typed.items()}
    target = Target.of(module, example, config.sites, config.output)
    return Material(target, target.prepare(typed).numpy(), None)


def _onnx(plan: Plan, path: Path) -> Material:
    if plan.weights is not None:
        raise InputError(f"{path} has its own weights; leave out --weights")
    if plan.reference is None:
        raise InputError(f"{path} needs inputs you trust; give them as --reference file.npz")
    from apd.from_onnx import load_onnx, verify
    from cli.console import say, screen

    module, reference = load_onnx(path), Path(plan.reference)
    kind = numpy_type(module.input_dtype)
    array = as_kind(inputs.read(reference, plan.key), reference, kind)
    judge, rows = verify(module, path, array)
    say(screen(), f"Imported {path}: on {rows} of these inputs it computes what {judge} computes.")
    return Material(module, array, None)


def _reference(module: nn.Module, path: Path, key: str | None) -> inputs.Array:
    """The one array that a network takes, in its own numbers."""
    return _typed(module, path, {"": inputs.read(path, key)})[""]


def _typed(
    module: nn.Module, path: Path, arrays: dict[str, inputs.Array]
) -> dict[str, inputs.Array]:
    """Arrays in the numbers a network takes: integers where it looks them up, else its floats.

    Of several, those of truth values, such as masks, are taken as they are.
    """
    import numpy as np

    from cli.whole_numbers import floats_of, looks_up

    floats = numpy_type(floats_of(module))
    given = any(array.dtype.kind in "iu" for array in arrays.values())
    whole = np.dtype(np.int64) if given and looks_up(module, arrays) else floats
    kinds = {"i": whole, "u": whole}
    if "" not in arrays:
        kinds["b"] = np.dtype(bool)
    return {
        name: as_kind(array, path, kinds.get(array.dtype.kind, floats))
        for name, array in arrays.items()
    }


def device_of(name: str) -> torch.device:
    """A device by name, "auto" being a GPU where there is one.

    Raises:
        InputError: there is no such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"there is no device {name!r} here") from error
    return device
