"""What is in `deploy/`, and the Job of our Kubernetes pool: valid, and in agreement with the code."""

import asyncio
import copy
import importlib
import json
import shutil
import subprocess
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.templating import apply_values, find_placeholders
from prefect.workers.base import BaseJobConfiguration

from flows.deployed import ScheduledRun
from flows.pools import job_variables, template
from flows.work import refuse_training
from pipeline.runs.series import planned
from schemas.config import PrmConfig, load_config
from schemas.places import is_url

ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "deploy/kubernetes"
RELEASE = "1.37"


def faults(manifest: dict[str, Any]) -> list[str]:
    """What a cluster would refuse of a manifest, unknown fields too."""
    validate = pytest.importorskip("kubernetes_validate")
    # The library takes `generateName` for a missing name.
    manifest = copy.deepcopy(manifest)
    if generated := manifest["metadata"].pop("generateName", ""):
        manifest["metadata"]["name"] = f"{generated}x1"
    try:
        validate.validate(manifest, RELEASE, strict=True)
    except validate.ValidationError as error:
        return [f"{'/'.join(map(str, error.path))}: {error.message}"]
    return []


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / "work.yaml").read_text()))


def test_the_manifest_is_valid() -> None:
    (job,) = manifests()
    assert not faults(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["stepmint", "work", "$(RUN)"]
    assert pod["terminationGracePeriodSeconds"] >= 30
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert {rule.get("onExitCodes", {}).get("containerName", container["name"]) for rule in rules} == {
        container["name"]
    }


def test_what_is_wrong_in_a_manifest_is_seen() -> None:
    """As Prefect's own template has it: fields of the Job in the pod."""
    (job,) = manifests()
    job["spec"]["template"]["spec"]["parallelism"] = 1
    assert "parallelism" in "".join(faults(job))


def test_the_kustomization_is_valid() -> None:
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("no kubectl")
    made = subprocess.run([kubectl, "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=True)
    (job,) = yaml.safe_load_all(made.stdout)
    assert not faults(job)
    assert job == manifests()[0], "the patches name what the manifest has by default"


def job_of(variables: dict[str, Any]) -> dict[str, Any]:
    """The Job of a run, as a worker makes it: the template with its defaults and the deployment's variables.
    What depends on the run, its labels and command, is the worker's."""
    made = template("kubernetes")
    known = made["variables"]["properties"]
    defaults = BaseJobConfiguration._get_base_config_defaults(known)
    assert variables.keys() <= known.keys()
    values = {**defaults, "name": "run", "labels": {}, "command": ["prefect"], **variables}
    values["env"] = [{"name": name, "value": value} for name, value in values["env"].items()]
    manifest: dict[str, Any] = apply_values(made["job_configuration"]["job_manifest"], values)
    return manifest


@pytest.mark.parametrize(
    "more", [{}, {"gpus": 1, "cpu": "500m", "service_account_name": "runner", "secret": "keys"}]
)
def test_the_job_of_a_kubernetes_pool_is_valid(more: dict[str, Any]) -> None:
    job = job_of({**job_variables("kubernetes", "stepmint:1", ROOT / "run.toml"), **more})
    assert not faults(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "stepmint:1"
    assert container["resources"]["limits"].get("nvidia.com/gpu") == more.get("gpus")
    assert pod.get("serviceAccountName") == more.get("service_account_name")
    assert container["envFrom"] == [{"secretRef": {"name": more.get("secret", "stepmint"), "optional": True}}]
    assert {"name": "PREFECT_HOME", "value": "/tmp/prefect"} in container["env"]


def test_prefects_worker_takes_our_template() -> None:
    """As it is on a machine of a cluster: `pip install prefect-kubernetes==0.7.11`."""
    worker = pytest.importorskip("prefect_kubernetes.worker")
    from prefect.client.schemas.objects import FlowRun

    variables = job_variables("kubernetes", "stepmint:1", ROOT / "run.toml")
    configuration = worker.KubernetesWorkerJobConfiguration
    made = asyncio.run(configuration.from_template_and_values(template("kubernetes"), variables))
    made.prepare_for_flow_run(FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="brave-ant"))
    assert not faults(made.job_manifest)
    (container,) = made.job_manifest["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert {"name": "PREFECT_HOME", "value": "/tmp/prefect"} in container["env"]


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_template_declares_the_variables_that_it_uses(kind: str) -> None:
    made = template(kind)
    used = {found.name for found in find_placeholders(made["job_configuration"])}
    assert used == made["variables"]["properties"].keys()
    assert job_variables(kind, "mine", ROOT / "run.toml").keys() <= used


def test_a_container_sees_the_folders_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = job_variables("docker", "mine", Path("files/run.toml"))
    assert found["volumes"] == [f"{tmp_path}:{tmp_path}", f"{tmp_path}/files:{tmp_path}/files"]


def test_the_file_of_deployments_agrees_with_the_code() -> None:
    (deployment,) = yaml.safe_load((ROOT / "deploy/prefect.yaml").read_text())["deployments"]
    file, _, name = deployment["entrypoint"].partition(":")
    module = file.removesuffix(".py").replace("/", ".")
    assert getattr(importlib.import_module(module), name).name == "stepmint-scheduled"
    ScheduledRun.model_validate(deployment["parameters"]["run"])


def test_the_image_has_every_package() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} <= copied
    assert {"pyproject.toml", "constraints.txt", settings["project"]["readme"]} <= copied
    templates = {path.name for path in (ROOT / "flows/templates").iterdir()}
    assert templates == {"docker.json", "kubernetes.json"}
    assert "templates/*.json" in settings["tool"]["setuptools"]["package-data"]["flows"]


@pytest.mark.parametrize(
    "script", ["deploy/slurm/work.sbatch", "tests/cluster/image.sh", "tests/cluster/slurm.sh"]
)
def test_a_script_can_be_read(script: str) -> None:
    if not (bash := shutil.which("bash")):
        pytest.skip("no bash")
    subprocess.run([bash, "-n", str(ROOT / script)], check=True)


def test_the_parameter_fits_a_form() -> None:
    """Prefect's page makes a field of each; a run file as a schema would be hundreds."""
    schema = ScheduledRun.model_json_schema()
    assert len(schema["properties"]) <= 7
    assert "$defs" not in schema
    assert all("description" in field for field in schema["properties"].values())
    assert len(json.dumps(schema)) < 3000


def test_the_series_for_pods_needs_no_disk_of_theirs() -> None:
    config = load_config(KUBERNETES / "nightly.toml")
    night = planned(config, datetime(2026, 11, 27, 2, tzinfo=UTC), "day")
    refuse_training(night)
    assert is_url(config.root)
    assert night.name == "nightly-2026-11-27"
    assert [one.checkpoint for one in config.annotators(PrmConfig)] == ["series"]
