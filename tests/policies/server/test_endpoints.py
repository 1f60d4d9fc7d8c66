"""Several real servers behind one policy: one dies, one crawls, one comes back, all go."""

import asyncio
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.policies.base import Completion, Prompt, Sampling, Unfinished
from pipeline.policies.server import endpoints
from pipeline.policies.server.endpoints import Endpoint
from pipeline.policies.server.policy import ServerPolicy
from schemas.errors import BackendError


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        known = self.server.cache_tokens if self.path == "/metrics" else None
        page = (
            f'vllm:cache_config_info{{block_size="16",num_gpu_blocks="{known // 16}"}} 1.0' if known else ""
        )
        self._answer(500 if self.server.broken else 200 if known or self.path == "/v1/models" else 404, page)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.asked.append(asked["prompt"])
            self.server.busy += 1
            self.server.most = max(self.server.most, self.server.busy)
        time.sleep(self.server.delay_s)
        with self.server.lock:
            self.server.busy -= 1
        if self.server.broken:
            return self._answer(500, "no")
        # What a seeded engine does: the same request has the same answer wherever it is asked.
        seeds = [asked["seed"] + index for index in range(asked["n"])]
        texts = [hashlib.sha256(f"{asked['prompt']}{seed}".encode()).hexdigest() for seed in seeds]
        choices = [{"text": text, "finish_reason": "stop"} for text in texts]
        return self._answer(200, json.dumps({"choices": choices, "usage": {"completion_tokens": 9}}))

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        return None


class Server(ThreadingHTTPServer):
    """A server on loopback; `kill` closes its port and every connection, `revive` opens the port again."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.lock, self.asked = threading.Lock(), list[str]()
        self.busy = self.most = 0
        self.delay_s, self.broken, self.cache_tokens = 0.002, False, 0
        self._open: set[Any] = set()
        self.connections = 0
        self.alive = True
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        return None  # connections break here on purpose

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            self.shutdown()
            self.thread.join()
            self.server_close()
            for connection in self._open:
                try:
                    connection.shutdown(2)
                except OSError:
                    continue  # closed by the other side

    def revive(self) -> "Server":
        return Server(self.server_port)


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    servers = Server(), Server()
    yield servers
    for server in servers:
        server.kill()


def policy(*servers: Server, **options: Any) -> ServerPolicy:
    options = {"backoff_s": 0.02, "timeout_s": 10.0, "in_flight": 8, **options}
    return ServerPolicy([server.url for server in servers], "m", **options)


async def ask(asked: ServerPolicy, name: int, step: int = 0) -> list[Completion]:
    return await asked.sample(Prompt(f"problem {name}\n", "s" * step), 2, Sampling(max_tokens=99, seed=name))


def state(asked: ServerPolicy, server: Server) -> Endpoint:
    return next(e for e in asked.endpoints.all if e.url == server.url)


async def until_well(endpoint: Endpoint) -> None:
    async with asyncio.timeout(20):
        while not endpoint.well:
            await asyncio.sleep(0.005)


def test_a_problem_keeps_to_one_endpoint(pair: tuple[Server, Server]) -> None:
    async def run() -> None:
        async with policy(*pair) as asked:
            for step in range(4):
                await asyncio.gather(*(ask(asked, name, step) for name in range(3)))

    asyncio.run(run())
    homes = [{prompt.split("\n")[0] for prompt in server.asked} for server in pair]
    assert not homes[0] & homes[1]
    assert sum(len(server.asked) for server in pair) == 12


def test_work_beyond_the_batch_goes_to_the_least_loaded(pair: tuple[Server, Server]) -> None:
    for server in pair:
        server.delay_s = 0.05

    async def run() -> None:
        async with policy(*pair) as asked:  # ten requests of one problem: eight sequences fit, four requests
            await asyncio.gather(*(ask(asked, 1, step) for step in range(10)))

    asyncio.run(run())
    assert all(1 < server.most <= 6 for server in pair)


def test_clients_that_are_idle_for_long_are_closed(
    pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pair[0]

    async def run() -> None:
        async with policy(server, in_flight=64) as asked:
            server.delay_s = 0.2
            await asyncio.gather(*(ask(asked, name) for name in range(6)))
            [endpoint] = asked.endpoints.all
            clients = [client for _, client in endpoint.idle]
            monkeypatch.setattr(endpoints, "_IDLE_S", 0.0)
            await ask(asked, 6)
            assert len(endpoint.idle) == 1
            assert sum(client.is_closed for client in clients) == len(clients) == 6

    asyncio.run(run())


def test_each_call_under_way_has_a_connection_of_its_own_and_later_ones_use_them_again(
    pair: tuple[Server, Server],
) -> None:
    server = pair[0]

    async def run() -> None:
        async with policy(server, in_flight=64) as asked:
            server.delay_s = 0.2
            await asyncio.gather(*(ask(asked, name) for name in range(6)))
            server.delay_s = 0.0
            for name in range(6, 12):
                await ask(asked, name)
            [endpoint] = asked.endpoints.all
            assert len(endpoint.idle) == server.connections
        assert not endpoint.idle

    asyncio.run(run())
    assert server.most == server.connections == 6
    assert len(server.asked) == 12


def test_a_call_that_outlives_its_policy_closes_its_client(pair: tuple[Server, Server]) -> None:
    """One problem fails and ends the policy, while nobody waits any more for other calls of it."""
    server = pair[0]

    async def run() -> None:
        made: list[httpx.AsyncClient] = []
        async with policy(server, in_flight=64) as asked:
            [endpoint] = asked.endpoints.all
            make = endpoint.made
            endpoint.made = lambda: made.append(make()) or made[-1]  # type: ignore[func-returns-value]
            server.delay_s = 0.05
            calls = [asyncio.create_task(ask(asked, name)) for name in range(24)]
            await asyncio.sleep(0)
            while len(endpoint.idle) < 3:
                await asyncio.sleep(0.001)
        await asyncio.gather(*calls, return_exceptions=True)
        assert len(made) > 3
        assert all(client.is_closed for client in made)
        assert not endpoint.idle

    asyncio.run(run())


def test_one_of_two_dies_in_the_middle_and_nothing_changes(pair: tuple[Server, Server]) -> None:
    async def run(kill: bool) -> tuple[list[list[Completion]], bool]:
        async with policy(*pair) as asked:
            tasks = [asyncio.create_task(ask(asked, name)) for name in range(120)]
            while not any(task.done() for task in tasks[40:]):
                await asyncio.sleep(0.001)
            if kill:
                await asyncio.to_thread(pair[0].kill)
            found = await asyncio.gather(*tasks)
            return found, state(asked, pair[0]).well

    whole, _ = asyncio.run(run(kill=False))
    found, well = asyncio.run(run(kill=True))
    assert found == whole
    assert {c.stopped for group in found for c in group} == {"stop"}
    assert not well


def test_an_endpoint_that_comes_back_is_used_again(pair: tuple[Server, Server]) -> None:
    async def run() -> Server:
        async with policy(*pair) as asked:
            await asyncio.to_thread(pair[0].kill)
            await asyncio.gather(*(ask(asked, name) for name in range(20)))
            assert not state(asked, pair[0]).well
            revived = pair[0].revive()
            try:
                await until_well(state(asked, revived))
                await asyncio.gather(*(ask(asked, name) for name in range(20)))
            finally:
                await asyncio.to_thread(revived.kill)
            return revived

    assert len(asyncio.run(run()).asked) > 3


def test_an_endpoint_that_fails_three_calls_is_set_aside_until_it_answers(
    pair: tuple[Server, Server],
) -> None:
    pair[0].broken = True

    async def run() -> None:
        async with policy(*pair) as asked:
            found = await asyncio.gather(*(ask(asked, name) for name in range(60)))
            assert {c.stopped for group in found for c in group} == {"stop"}
            assert len(pair[0].asked) < 12
            assert not state(asked, pair[0]).well
            pair[0].broken = False
            await until_well(state(asked, pair[0]))
            await asyncio.gather(*(ask(asked, name) for name in range(60)))
            assert len(pair[0].asked) > 12

    asyncio.run(run())


def test_a_slow_endpoint_does_not_hold_up_the_other(pair: tuple[Server, Server]) -> None:
    pair[0].delay_s = 0.5

    async def run() -> None:
        async with policy(*pair) as asked:
            await asyncio.gather(*(ask(asked, name) for name in range(100)))

    asyncio.run(run())
    slow, fast = (Counter(server.asked).total() for server in pair)
    assert slow + fast == 100
    assert fast > 2 * slow


def test_an_endpoint_that_hangs_costs_its_time_limit_and_no_answer(pair: tuple[Server, Server]) -> None:
    pair[0].delay_s = 3.0

    async def run() -> list[list[Completion]]:
        async with policy(*pair, timeout_s=0.5) as asked:
            return await asyncio.gather(*(ask(asked, name) for name in range(40)))

    found = asyncio.run(run())
    assert {c.stopped for group in found for c in group} == {"stop"}


def test_only_when_all_are_gone_is_the_backend_gone(pair: tuple[Server, Server]) -> None:
    async def run() -> None:
        async with policy(*pair, retries=1) as asked:
            await ask(asked, 1)
            await asyncio.to_thread(pair[0].kill)
            assert (await ask(asked, 1))[0].stopped == "stop"
            await asyncio.to_thread(pair[1].kill)
            with pytest.raises(BackendError, match="is the server running"):
                await ask(asked, 2)

    asyncio.run(run())


def test_one_that_answers_with_faults_is_not_gone(pair: tuple[Server, Server]) -> None:
    pair[1].broken = True

    async def run() -> None:
        async with policy(*pair, retries=1) as asked:
            await asyncio.to_thread(pair[0].kill)
            for name in range(5):
                with pytest.raises(Unfinished, match='500 "no"|cannot connect'):
                    await ask(asked, name)

    asyncio.run(run())


def test_the_cache_of_a_vllm_server_bounds_the_tokens(pair: tuple[Server, Server]) -> None:
    pair[0].cache_tokens, pair[1].cache_tokens = 64_000, 3_200

    async def run() -> float:
        async with policy(*pair) as asked:
            return asked._gate.tokens

    assert asyncio.run(run()) == 3_200


LABELS = """
name = "served"
root = {root!r}
[problems]
source = "jsonl"
path = {path!r}
[policy]
kind = "server"
model = "m"
base_url = {urls}
[[annotate]]
kind = "monte_carlo"
rollouts = 2
"""


def test_labels_are_the_same_with_and_without_the_death(pair: tuple[Server, Server], tmp_path: Path) -> None:
    from pipeline.labelling.problems import read_problems
    from pipeline.labelling.shard import run_shard
    from pipeline.runs.run_store import RunStore
    from schemas.config import load_config

    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"text": f"p {i}", "answer": "a"}) + "\n" for i in range(60)))

    def label(name: str, *, kill: bool) -> bytes:
        urls = json.dumps([server.url for server in pair])
        file = tmp_path / f"{name}.toml"
        file.write_text(LABELS.format(root=str(tmp_path / name), path=str(problems), urls=urls))
        store = RunStore.open(load_config(file))
        read_problems(store)
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if kill and done == 20:
                pair[0].kill()

        assert asyncio.run(run_shard(store, 0, advance=advance)) == {"done": 60, "failed": 0}
        return b"".join(item.model_dump_json().encode() for item in store.journal(0))

    assert label("whole", kill=False) == label("killed", kill=True)
