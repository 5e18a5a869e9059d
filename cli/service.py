"""The scorer as a web application: inputs in a body, rows out, and what was served as metrics."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from anyio import CapacityLimiter, Semaphore, WouldBlock
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect

import mad
from cli import errors, inputs
from cli.fitting import numpy_type, words
from cli.named import taken
from cli.rows import Rows
from cli.runs import decomposition_of
from cli.scoring import tabulate
from cli.served import Served
from mad.checks import as_type

if TYPE_CHECKING:
    import apd

MOST_BYTES = 64 * 2**20
MOST_WAITING = 32
BAD_REQUEST, TOO_LARGE, BUSY = 400, 413, 503
KEY = inputs.DEFAULT_KEY


def service(detector: mad.Detector, alpha: float) -> FastAPI:
    """The application: POST /score, GET /healthz, GET /metrics.

    Rows are scored one request at a time; whatever waits takes no thread from the other routes.

    Args:
        detector: what scores.
        alpha: the share of false alarms that is flagged for.
    """
    app = FastAPI(title="apd", docs_url=None, redoc_url=None, openapi_url=None)
    served, turn, health = Served(), CapacityLimiter(1), health_of(detector, alpha)
    place = Semaphore(1 + MOST_WAITING)

    def answer(body: bytes) -> Response:
        try:
            result = detector.score(inputs_in(body, detector))
        except Exception as error:
            if not errors.is_expected(error):
                raise
            return refusal(errors.sentence(error), BAD_REQUEST)
        served.note(result, alpha)
        return JSONResponse({"alpha": alpha, "rows": as_objects(tabulate(result, 0, alpha))})

    async def score(request: Request) -> Response:
        try:
            place.acquire_nowait()
        except WouldBlock:
            return refusal(f"{MOST_WAITING} requests are waiting already; send it later.", BUSY)
        try:
            body = await read(request)
            if body is None:
                return refusal(
                    f"a request may hold {MOST_BYTES:,} bytes; send fewer rows.", TOO_LARGE
                )
            async with turn:
                return await run_in_threadpool(answer, body)
        except ClientDisconnect:
            return Response()  # to nobody
        finally:
            place.release()

    async def healthz() -> dict[str, Any]:
        return health

    def metrics() -> Response:
        return Response(served.text(), media_type=served.media_type)

    app.add_api_route("/score", score, methods=["POST"], response_model=None)
    app.add_api_route("/healthz", healthz)
    app.add_api_route("/metrics", metrics, response_model=None)
    return app


def health_of(detector: mad.Detector, alpha: float) -> dict[str, Any]:
    """What serves, and what it takes."""
    run = decomposition_of(detector)
    return {
        "status": "ok",
        "decomposition": run.fingerprint,
        "input_shape": list(run.input_shape),
        "inputs": names_of(run),
        "alpha": alpha,
        "smallest_p_value": detector.finest_alpha,
    }


def names_of(run: apd.Run) -> dict[str, list[int]]:
    """The arrays that an .npz file of inputs has to hold, and the shape of each for one input."""
    parts = run.target.graph.parts
    return {part.name: list(part.shape) for part in parts} or {KEY: list(run.input_shape)}


async def read(request: Request) -> bytes | None:
    """What a request holds; None where it is more than `MOST_BYTES`.

    Raises:
        ClientDisconnect: whoever sends it has hung up.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def refusal(sentence: str, status: int) -> JSONResponse:
    """Why a request is not answered."""
    return JSONResponse({"error": sentence}, status)


def inputs_in(body: bytes, detector: mad.Detector) -> NDArray[np.generic]:
    """The inputs that a request holds, as the target takes them.

    Raises:
        InputError: they cannot be used.
        mad.InputError: they are no numbers of the target's.
    """
    target = decomposition_of(detector).target
    if not body.startswith(inputs.ZIP_MAGIC):
        return from_json(body, target.input_shape, numpy_type(target.input_dtype))
    with NamedTemporaryFile(suffix=".npz") as file:
        file.write(body)
        file.flush()
        try:
            path = Path(file.name)
            found = taken(path, key_in(path, target), target)
            size = numpy_type(target.input_dtype).itemsize * prod(target.input_shape)
            if found.count * size > MOST_BYTES:
                raise errors.InputError(
                    f"the request holds {found.count} inputs, which unpacked take more than "
                    f"{MOST_BYTES:,} bytes; send fewer rows"
                )
            return np.concatenate(list(found.chunks))
        except (errors.InputError, mad.InputError) as error:
            raise errors.InputError(str(error).replace(file.name, "the request")) from error


def key_in(path: Path, target: apd.Target) -> str | None:
    """Which array of an .npz file is scored: `KEY`, unless there is one alone or they are named.

    Raises:
        InputError: it is no .npz file.
    """
    return None if target.graph.parts or len(inputs.arrays(path)) == 1 else KEY


def from_json(body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    """The rows of {"x": rows}; null is a number that is not known.

    Raises:
        InputError: they cannot be used.
        mad.InputError: they are no numbers of the target's.
    """
    try:
        rows = np.array(json.loads(body)[KEY], float, ndmin=1)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise errors.InputError(
            f'the request is neither {{"{KEY}": rows of numbers}} as JSON nor an .npz file'
        ) from error
    if len(rows) == 0 or rows.shape[1:] != shape:
        raise errors.InputError(
            f"the request has inputs of {words(rows.shape[1:])}, "
            f"but the target takes {words(shape)}"
        )
    return as_type(rows, dtype, "the request")


def as_objects(rows: Rows) -> list[dict[str, Any]]:
    """Rows by the names of their columns, blanks as None."""
    return [dict(zip(rows.columns, row, strict=True)) for row in rows]
