"""What a Prefect server does by itself about the runs of a deployment: run again, say so, begin.

The deployment owns its automations. Each `stepmint deploy` replaces all of them, so giving the command twice
is giving it once. They outlast a deployment that is deleted, and then do nothing.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from schemas.errors import UserError

# A run says every three minutes that it lives (PREFECT_FLOWS_HEARTBEAT_FREQUENCY). One of three may be lost.
_SILENT = timedelta(minutes=9)
# In Prefect's templates every value becomes a text, but where it is JSON, and is read as JSON.
_AGAIN = """{{ dict(flow_run.parameters.run,
    tries=(flow_run.parameters.run.tries or 0) + 1,
    planned_for=flow_run.parameters.run.planned_for or flow_run.expected_start_time.isoformat()
) | tojson }}"""
_ALARM = (
    "{{ flow_run.name }} of {{ deployment.name }}: {{ flow_run.state.name }}: {{ flow_run.state.message }}"
)


def ensure_automations(
    client: Any, deployment: UUID, name: str, *, event: str, alarm: UUID | None
) -> list[str]:
    """Replace the automations of a deployment; returns their names."""
    owner = f"prefect.deployment.{deployment}"
    wanted = [_again(deployment), _lost(deployment)]
    wanted += [_told(deployment, alarm)] if alarm else []
    wanted += [_begun(deployment, event)] if event else []
    client.delete_resource_owned_automations(owner)
    for automation in wanted:
        automation.name = f"{name}: {automation.name}"
        automation.owner_resource = owner
        client.create_automation(automation)
    return [automation.name for automation in wanted]


def block_of(client: Any, alarm: str) -> UUID | None:
    """The block that sends an alarm, called TYPE/NAME; None for an empty name. UserError where there is
    none."""
    from prefect.exceptions import ObjectNotFound

    if not alarm:
        return None
    kind, _, name = alarm.partition("/")
    found: UUID | None = None
    with suppress(ObjectNotFound):
        found = client.read_block_document_by_name(name, kind).id if kind and name else None
    if found is None:
        raise UserError(
            f"--alarm {alarm}: the server has no such block: expected TYPE/NAME, such as slack-webhook/ops; "
            "`prefect block ls` shows them"
        )
    return found


def _trigger(deployment: UUID, **given: Any) -> Any:
    """A trigger on what happens to the runs of a deployment; not to the flows within a run."""
    from prefect.events.schemas.automations import EventTrigger

    of = {"prefect.resource.id": f"prefect.deployment.{deployment}", "prefect.resource.role": "deployment"}
    match = {"prefect.resource.id": "prefect.flow-run.*", **given.pop("match", {})}
    return EventTrigger.model_validate({"posture": "Reactive", "match": match, "match_related": of, **given})


def _again(deployment: UUID) -> Any:
    """A run that crashed is run again, with the time it was planned for, so a series goes on with its own
    run. Its `tries` are counted in its parameters. The server refuses them beyond their bound."""
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore

    template = {"__prefect_kind": "jinja", "template": _AGAIN}
    return AutomationCore(
        name="run again after a crash",
        trigger=_trigger(deployment, expect={"prefect.flow-run.Crashed"}),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment,
                parameters={"run": {"__prefect_kind": "json", "value": template}},
            )
        ],
    )


def _lost(deployment: UUID) -> Any:
    """A run that was killed together with its worker stays Running for ever: it is called crashed when it has
    been silent for long."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore

    return AutomationCore(
        name="silent runs have crashed",
        trigger=_trigger(
            deployment,
            posture="Proactive",
            after={"prefect.flow-run.heartbeat"},
            # Any change of its state is a sign, too: the last one is its end.
            expect={"prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            within=_SILENT,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no sign of life for nine minutes")],
    )


def _told(deployment: UUID, block: UUID) -> Any:
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore

    return AutomationCore(
        name="alarm",
        # By the type: a failed run's state may have another name.
        trigger=_trigger(
            deployment, match={"prefect.state-type": ["FAILED", "CRASHED"]}, expect={"prefect.flow-run.*"}
        ),
        actions=[SendNotification(block_document_id=block, subject="stepmint", body=_ALARM)],
    )


def _begun(deployment: UUID, event: str) -> Any:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    return AutomationCore(
        name=f"run on {event}",
        trigger=EventTrigger.model_validate({"posture": "Reactive", "expect": {event}}),
        actions=[RunDeployment(source="selected", deployment_id=deployment)],
    )
