"""Policies: one protocol, `open_policy` to get one, and a module per backend."""

from pipeline.policies.base import Completion, Policy, Prompt, Sampling, Scorer, identity, scorer
from pipeline.policies.opening import open_policy

__all__ = ["Completion", "Policy", "Prompt", "Sampling", "Scorer", "identity", "open_policy", "scorer"]
