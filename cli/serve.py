"""`apd serve`: a run's scorer behind HTTP; needs fastapi, uvicorn and prometheus-client."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import InputError
from cli.flags import ALPHA, share
from cli.packages import refuse_missing
from cli.speech import Quiet

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="The directory.  [default: the newest under ./runs]"),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 8000,
    alpha: Annotated[
        float, typer.Option(callback=share, help="Share of false alarms on inputs you trust.")
    ] = ALPHA,
    quiet: Quiet = False,
) -> None:
    """Score inputs that come by HTTP, as `apd score` does.

    POST /score takes {"x": [[...], ...]} as JSON, or the bytes of an .npz file as in
    `curl --data-binary @inputs.npz 127.0.0.1:8000/score`, and answers with the rows of `apd score`.
    Requests are scored one after the other; while 32 wait, more are answered 503.
    GET /healthz says what serves, GET /metrics what was served, for Prometheus. Whoever reaches the
    port can score: keep it behind what knows your users.

    Example: apd serve runs/mine --port 8000
    """
    refuse_missing("serving", *NEEDED)
    import uvicorn

    from cli import runs
    from cli.console import say, screen
    from cli.service import service
    from cli.summary import say_too_fine

    run = run or runs.newest_ready()
    detector = runs.detector_in(run)
    say_too_fine(alpha, detector.finest_alpha)
    server = uvicorn.Server(uvicorn.Config(service(detector, alpha), log_level="warning"))
    with bound(host, port) as listening:
        port = listening.getsockname()[1]
        say(screen(), f"Scoring by {run} at http://{host}:{port}/score; Ctrl-C ends it.")
        server.run([listening])


def bound(host: str, port: int) -> socket.socket:
    """What listens at an address.

    Raises:
        InputError: nothing can.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        raise InputError(f"nothing can listen at {host}:{port}: {why}") from error
