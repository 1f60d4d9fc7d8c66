"""Self-training as a flow. Each round labels with the policy, then trains it on its own right solutions.

Each round is a run of its own, NAME-round0, NAME-round1, ...; an interrupted flow goes on where it stopped.
"""

from pathlib import Path
from typing import Any

from flows import progress
from flows.checks import base_of, check_tunable
from flows.engine import flow, task
from flows.synthesize import synthesize
from flows.train import checkpoint_of, read_json
from pipeline.methods.stored import Run
from pipeline.runs.run_store import RunStore
from pipeline.storage.atomic import write_json
from schemas.config import RunConfig, SelfTrainConfig, TrainConfig

DONE = "selftrain.json"
"""The file with what a checkpoint was trained on and its figures. It is written last, so a checkpoint with
it is complete."""


@task()
def tune_policy(config: RunConfig, settings: SelfTrainConfig, value_model: str) -> dict[str, Any]:
    """Fine-tune the round's policy on its right solutions; returns the figures, with the new folder."""
    run, out = Run(RunStore.reopen(config)), checkpoint_of(config) / "policy"
    wanted = _wanted(run, settings.model_dump(mode="json", exclude={"rounds"}), value_model)
    if (kept := _kept(out, wanted)) is not None:
        return kept

    from pipeline.methods.selftrain import lessons, pass_rate
    from pipeline.prm.model import PRM
    from pipeline.prm.policy_finetune import fine_tune

    training = TrainConfig(
        model=config.policy.model,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        max_length=settings.max_length,
        seed=config.seed,
    )
    rate = pass_rate(run)
    with progress.stage("fine-tuning the policy"):
        judge = PRM.load(Path(value_model)) if value_model else None
        out.parent.mkdir(parents=True, exist_ok=True)
        figures = fine_tune(lessons(run, settings.per_problem, judge), training, out, chat=config.policy.chat)
    found = {"folder": str(out), "correct": rate.correct, "n": rate.n, "n_failed": rate.n_failed, **figures}
    write_json(out / DONE, {"wanted": wanted, "figures": found})
    return found


@task()
def train_value(config: RunConfig, training: TrainConfig) -> dict[str, Any]:
    """Train the value model on the round's quality values; returns the figures, with its folder."""
    run, out = Run(RunStore.reopen(config)), checkpoint_of(config) / "value"
    # Quality values are soft targets; the consensus filter is about hard labels and says nothing of them.
    settings = training.model_copy(update={"targets": "soft", "rows": "all"})
    wanted = _wanted(run, settings.model_dump(mode="json"), "")
    if (kept := _kept(out, wanted)) is not None:
        return kept

    from pipeline.methods.selftrain import value_rows
    from pipeline.prm.train import train_prm

    with progress.stage("training the value model"):
        metrics = train_prm(
            value_rows(run),
            settings,
            out,
            template=run.template,
            dataset_digest=run.manifest.digest(),
        )
    figures = {"folder": str(out), **{key: metrics[key] for key in ("solutions", "updates", "loss")}}
    write_json(out / DONE, {"wanted": wanted, "figures": figures})
    return figures


@flow("selftrain", "{config.name}")
def selftrain(config: RunConfig) -> dict[str, Any]:
    """Every round that `[self_train]` asks for. Returns the figures of each, and the last two checkpoints."""
    settings = config.self_train or SelfTrainConfig()
    check_tunable(config)
    # First, because a round labels for hours before its value model would be trained.
    with progress.stage("trying out the base of the value model"):
        base_of(config)
    rounds: list[dict[str, Any]] = []
    model, value_model = config.policy.model, ""
    for number in range(settings.rounds):
        here = round_config(config, number, model)
        sealed = synthesize(here)
        policy = tune_policy(here, settings, value_model)
        value = train_value(here, config.train or TrainConfig())
        model, value_model = policy["folder"], value["folder"]
        rounds.append({"round": number, "run": sealed["run"], "policy": policy, "value": value})
    return {"rounds": rounds, "policy": model, "value_model": value_model}


def round_config(config: RunConfig, number: int, model: str) -> RunConfig:
    """The configuration of one round's run. Only the policy differs, so its rollouts are sampled again."""
    return config.model_copy(
        update={
            "name": f"{config.name}-round{number}",
            "policy": config.policy.model_copy(update={"model": model}),
            "train": None,
            "evaluate": None,
            "self_train": None,
        }
    )


def _wanted(run: Run, settings: dict[str, Any], value_model: str) -> dict[str, Any]:
    return {"dataset_digest": run.manifest.digest(), "settings": settings, "value_model": value_model}


def _kept(out: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    before = read_json(out / DONE)
    figures: dict[str, Any] | None = before.get("figures")
    return figures if before.get("wanted") == wanted else None
