"""Work pools of each kind, and what their deployments hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.pools import ensure_pool
from tests.flows.conftest import write_run_file
from tests.flows.serving import Serving


@pytest.mark.slow
def test_a_pool_is_made_of_the_kind_that_is_asked_for(
    serving: Serving, at_server: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_file = write_run_file(tmp_path)
    far = ["--set", "root='s3://bucket/runs'"]
    for kind, more in (("docker", []), ("kubernetes", far)):
        given = ["deploy", str(run_file), *more, "--pool", kind, "--image", "mine:1", "--json"]
        for made in (True, False):
            assert main([*given, "--pool-type", kind, "--tag", "gpu", "--concurrency", "3"]) == 0
            about = json.loads(capsys.readouterr().out)
            assert (about["pool_type"], about["pool_made"]) == (kind, made)
        assert about["parameters"]["run"]["text"] == run_file.read_text()
        found = serving.client.get(f"{serving.url}/deployments/{about['id']}").json()
        assert found["parameters"] == about["parameters"]
        assert found["job_variables"]["image"] == "mine:1"
        assert found["tags"] == ["stepmint", "demo", "gpu"]
        assert found["global_concurrency_limit"]["limit"] == 3
        assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        pool = serving.client.get(f"{serving.url}/work_pools/{kind}").json()
        assert pool["type"] == kind
        # What is known of the pool is enough to refuse, and to need no --pool-type.
        assert main(["deploy", str(run_file), "--pool", kind]) == 2
        assert "--image is needed" in capsys.readouterr().err
        assert main(["deploy", str(run_file), "--pool", kind, "--pool-type", "process"]) == 2
        assert f"its type is '{kind}'" in capsys.readouterr().err
    # A series on a store needs no folder that outlasts a pod, and nor does the PRM that is trained on it.
    series = ["root='s3://bucket/runs'", "series.name=nightly", "series.retrain_rows=9", "train.epochs=1"]
    given = [part for one in series for part in ("--set", one)]
    assert main(["deploy", str(run_file), *given, "--pool", "kubernetes", "--image", "mine:1"]) == 0


class WorkerAtOnce:
    """A client of Prefect, beside which a worker makes the same pool between our look and our try."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def read_work_pool(self, name: str) -> Any:
        return self.client.read_work_pool(name)

    def create_work_pool(self, asked: Any) -> Any:
        self.client.create_work_pool(asked)
        return self.client.create_work_pool(asked)


@pytest.mark.slow
def test_a_worker_may_make_the_pool_at_the_same_moment(serving: Serving, at_server: None) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        assert ensure_pool(WorkerAtOnce(client), "at-once", "process") == ("process", False)
