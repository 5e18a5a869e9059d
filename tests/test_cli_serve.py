"""`apd serve`: the same rows as `apd score`, by HTTP."""

import asyncio
import importlib.util
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import torch
from problems import numbers
from test_cli_main import assert_one_sentence, call
from torch import nn

import apd
import mad
from cli.scoring import tabulate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    testclient = pytest.importorskip("fastapi.testclient", exc_type=ImportError)
    pytest.importorskip("prometheus_client")

ALPHA = 0.1


@pytest.fixture(scope="module")
def detector(small_run):
    run, reference = small_run
    return mad.Detector.fit(run, reference)


@pytest.fixture
def client(detector):
    from cli.service import service

    return testclient.TestClient(service(detector, ALPHA))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    x = np.concatenate([numbers(21)(9, 5), 3 * numbers(22)(7, 5)]).astype(np.float32)
    x[4, 2] = np.nan
    return x


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def as_json(x: np.ndarray) -> bytes:
    return json.dumps({"x": [[None if np.isnan(v) else v for v in row] for row in x.tolist()]})


@pytest.mark.parametrize("body", [lambda x: npz(x=x), as_json], ids=["npz", "json"])
def test_rows_are_those_of_apd_score(client, detector, x, body):
    answer = client.post("/score", content=body(x))
    assert answer.status_code == 200
    rows = tabulate(detector.score(x), 0, ALPHA)
    expected = [dict(zip(rows.columns, row, strict=True)) for row in rows]
    assert answer.json() == {"alpha": ALPHA, "rows": expected}
    assert expected[4]["status"] == "non-finite"
    assert expected[4]["score_bits"] is None
    assert any(row["flagged"] for row in expected)


def test_it_says_what_serves(client, detector):
    said = client.get("/healthz").json()
    assert (said["status"], said["input_shape"]) == ("ok", [5])
    assert said["decomposition"] == detector.decomposition.fingerprint
    assert said["inputs"] == {"x": [5]}
    assert said["smallest_p_value"] == detector.finest_alpha


def metrics_of(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_metrics_count_what_was_served(client, detector, x):
    assert metrics_of(client)["apd_drift_p_value"] == 1
    odd = 5 * x[9:]
    for part in (x, odd):
        client.post("/score", content=npz(x=part))
    found, result = metrics_of(client), detector.score(np.concatenate([x, odd]))
    assert found["apd_scored_total"] == result.finite.sum() == found["apd_bits_count"]
    assert found["apd_not_finite_total"] == 1
    assert found["apd_flagged_total"] == (result.p_value <= ALPHA).sum() > 0
    assert found["apd_bits_sum"] == pytest.approx(result.bits[result.finite].sum())
    assert found['apd_bits_bucket{le="100.0"}'] == (result.bits <= 100).sum()
    assert found["apd_drift_p_value"] == result.drift().p_value < 1


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "neither"),
        (b'{"x": [["a"]]}', "neither"),
        (b"[1, 2]", "neither"),
        (b'{"x": [[1, 2], [3]]}', "neither"),
        (b'{"x": []}', "5 features"),
        (b'{"x": 3}', "single number"),
        (b'{"x": [[1, 2]]}', "5 features"),
        (b'{"x": [[1, 2, 3, 4, 1' + 400 * b"0" + b"]]}", "neither"),
        (100_000 * b"[", "neither"),
        (b"PK nonsense", "truncated or damaged"),
        (npz(x=np.zeros((2, 3), np.float32)), "5 features"),
        (npz(x=np.array(["text"])), "numbers are needed"),
        (npz(a=np.zeros((2, 5)), b=np.zeros((2, 5))), "no array named 'x'; it has a, b."),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_sentence(client, body, word):
    answer = client.post("/score", content=body)
    assert answer.status_code == 400
    said = answer.json()["error"]
    assert word in said
    assert said.endswith(".")
    assert "/tmp" not in said
    assert "--key" not in said
    assert metrics_of(client)["apd_scored_total"] == 0


def test_too_much_at_once_is_refused(client, monkeypatch):
    monkeypatch.setattr("cli.service.MOST_BYTES", 10)
    answer = client.post("/score", content=b'{"x": [[1, 2, 3, 4, 5]]}')
    assert answer.status_code == 413
    assert "fewer rows" in answer.json()["error"]


def test_too_much_once_unpacked_is_refused(client, monkeypatch):
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros((2000, 5), np.float32))
    rows = stream.getvalue()
    monkeypatch.setattr("cli.service.MOST_BYTES", 20_000)
    assert len(rows) < 20_000 < 2000 * 5 * 4
    answer = client.post("/score", content=rows)
    assert answer.status_code == 400
    assert "2000 inputs, which unpacked take more" in answer.json()["error"]


def test_a_body_that_comes_in_pieces_is_measured_too(client, monkeypatch):
    """Without a Content-Length to believe."""
    monkeypatch.setattr("cli.service.MOST_BYTES", 10)
    answer = client.post("/score", content=iter([b'{"x": [[1, 2,', b" 3, 4, 5]]}"]))
    assert answer.status_code == 413


class Two(nn.Module):
    """Of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 3), nn.Linear(2, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.first(a).relu() + self.second(b)


def test_several_inputs_come_under_their_names():
    from cli.service import service

    rng = np.random.default_rng(3)
    parts = {"a": rng.normal(size=(300, 5)), "b": rng.normal(size=(300, 2))}
    parts = {name: array.astype(np.float32) for name, array in parts.items()}
    run = apd.decompose(Two(), parts, apd.Config(steps=20, batch_size=16, components=4))
    detector = mad.Detector.fit(run, run.pack(parts))
    client = testclient.TestClient(service(detector, ALPHA))
    few = {name: array[:6] for name, array in parts.items()}
    rows = client.post("/score", content=npz(**few)).json()["rows"]
    found = [row["score_bits"] for row in rows]
    assert found == detector.score(run.pack(few)).bits.tolist()
    answer = client.post("/score", content=npz(a=few["a"]))
    assert answer.status_code == 400
    assert "'b'" in answer.json()["error"]


@pytest.mark.parametrize(("count", "refused"), [(45, 0), (50, 4)])
def test_whatever_waits_it_says_how_it_is(detector, x, monkeypatch, count, refused):
    """One request is scored, 45 wait, which is more than there are threads."""
    from cli.service import service

    score, may_go = mad.Detector.score, threading.Event()
    monkeypatch.setattr("cli.service.MOST_WAITING", 45)
    monkeypatch.setattr(mad.Detector, "score", lambda *given: may_go.wait(60) and score(*given))

    async def ask() -> tuple[list[httpx.Response], list[int]]:
        transport = httpx.ASGITransport(service(detector, ALPHA))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            asked = [
                asyncio.create_task(client.post("/score", content=npz(x=x))) for _ in range(count)
            ]
            try:
                said = [
                    (await asyncio.wait_for(client.get(path), 20)).status_code
                    for path in ("/healthz", "/metrics")
                ]
            finally:
                may_go.set()
            return await asyncio.gather(*asked), said

    answers, said = asyncio.run(ask())
    assert said == [200, 200]
    assert [answer.status_code for answer in answers] == [200] * (count - refused) + [503] * refused
    for answer in answers[count - refused :]:
        assert answer.json() == {"error": "45 requests are waiting already; send it later."}


def test_a_request_too_many_is_refused_before_it_is_read(detector, x, monkeypatch):
    """Its body is never asked for, so that what waits is all that memory holds."""
    from cli.service import service

    monkeypatch.setattr("cli.service.MOST_WAITING", 0)
    pieces = []

    async def ask() -> list[int]:
        begun, going_on = asyncio.Event(), asyncio.Event()
        transport = httpx.ASGITransport(service(detector, ALPHA))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:

            async def slowly():
                begun.set()
                await going_on.wait()
                yield npz(x=x)

            async def noted():
                pieces.append(len(pieces))
                yield npz(x=x)

            first = asyncio.create_task(client.post("/score", content=slowly()))
            await begun.wait()
            second = asyncio.create_task(client.post("/score", content=noted()))
            status = (await asyncio.wait_for(second, 20)).status_code
            going_on.set()
            third = await first
            return [status, third.status_code, (await client.get("/healthz")).status_code]

    assert asyncio.run(ask()) == [503, 200, 200]
    assert pieces == []


def test_requests_are_scored_one_after_the_other(detector, x, monkeypatch):
    from cli.service import service

    score, lock, alone = mad.Detector.score, threading.Lock(), []

    def noted(*given):
        alone.append(lock.acquire(blocking=False))
        time.sleep(0.02)
        try:
            return score(*given)
        finally:
            if alone[-1]:
                lock.release()

    monkeypatch.setattr(mad.Detector, "score", noted)

    async def ask() -> None:
        transport = httpx.ASGITransport(service(detector, ALPHA))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            await asyncio.gather(*(client.post("/score", content=npz(x=x)) for _ in range(6)))

    asyncio.run(ask())
    assert alone == [True] * 6


class Bytes(nn.Module):
    """Of whole numbers up to 255."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x.float() / 255).relu())


@pytest.fixture(scope="module")
def of_bytes():
    x = np.random.default_rng(3).integers(0, 256, (200, 4)).astype(np.uint8)
    run = apd.decompose(Bytes(), x, apd.Config(steps=20, batch_size=16, components=4))
    return mad.Detector.fit(run, x)


@pytest.mark.parametrize("body", [lambda x: npz(x=x), as_json], ids=["npz", "json"])
def test_whole_numbers_are_taken_where_they_fit(of_bytes, body):
    """In every type that a file may have them in, as in JSON, which has one."""
    from cli.service import service

    client = testclient.TestClient(service(of_bytes, ALPHA))
    x = np.array([[0, 255, 7, 1], [3, 4, 44, 0]])
    expected = of_bytes.score(x.astype(np.uint8)).bits.tolist()
    for dtype in (np.uint8, np.int16, np.uint64, np.float64):
        rows = client.post("/score", content=body(x.astype(dtype))).json()["rows"]
        assert [row["score_bits"] for row in rows] == expected
    for wrong, said in [
        (300, "the request holds whole numbers that uint8 does not have."),
        (-1, "the request holds whole numbers that uint8 does not have."),
        (1e30, "the request holds whole numbers that uint8 does not have."),
        (0.5, "the request holds fractions, where uint8 is needed."),
        (np.nan, "the request holds NaN or infinity, where uint8 is needed."),
    ]:
        x = np.array([[0, 255, 7, 1], [3, wrong, 44, 0]])
        answer = client.post("/score", content=body(x))
        assert (answer.status_code, answer.json()["error"]) == (400, said)


@contextmanager
def serving(directory, *arguments: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    """`apd serve` of the run there, and the port it listens at."""
    command = [sys.executable, "-m", "cli.main", "serve", "run", "--port", "0", *arguments]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = process.stdout.readline()
            yield process, int(re.search(r"127\.0\.0\.1:(\d+)/score", said)[1])
        finally:
            process.terminate()


def healthy(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/healthz"
    return json.load(urllib.request.urlopen(url, timeout=60))["status"] == "ok"


def test_it_says_which_free_port_it_listens_at(detector, tmp_path):
    detector.save(tmp_path / "run")
    with serving(tmp_path, "--alpha", "0.0001") as (process, port):
        assert healthy(port)
        process.terminate()
        assert "nothing can be flagged at alpha 0.0001" in process.stderr.read()


def test_a_row_is_flagged_at_the_alpha_that_was_given(detector, x, tmp_path):
    detector.save(tmp_path / "run")
    with serving(tmp_path, "--alpha", "0.5") as (process, port):
        address = f"http://127.0.0.1:{port}/score"
        told = json.load(urllib.request.urlopen(address, as_json(x).encode(), timeout=60))
        process.terminate()
    assert told["alpha"] == 0.5
    known = [row for row in told["rows"] if row["p_value"] is not None]
    flags = [row["flagged"] for row in known]
    assert flags == [row["p_value"] <= 0.5 for row in known]
    assert len(set(flags)) == 2


def test_it_listens_where_it_is_told_and_nowhere_else():
    from cli.serve import bound

    with bound("127.0.0.1", 0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_client_that_hangs_up_leaves_nothing_on_stderr(detector, tmp_path):
    detector.save(tmp_path / "run")
    with serving(tmp_path, "--alpha", "0.5") as (process, port):
        assert healthy(port)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b'POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"x":')
            time.sleep(0.5)
        assert healthy(port)
        process.terminate()
        assert process.stderr.read() == ""


def test_a_port_in_use_is_refused(detector, tmp_path, monkeypatch, capsys):
    detector.save(tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = call(
            monkeypatch, capsys, tmp_path, "serve", "run", "--port", port, "--alpha", ALPHA
        )
    assert code == 1
    assert_one_sentence(err, f"127.0.0.1:{port}", "in use")


def test_what_is_not_installed_is_named(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    code, _, err = call(monkeypatch, capsys, tmp_path, "serve", "runs/mine")
    assert code == 1
    assert_one_sentence(err, "uvicorn", "pip install uvicorn")


def test_a_run_that_is_not_there_is_refused(tmp_path, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, tmp_path, "serve")
    assert code == 1
    assert_one_sentence(err, "apd train")
