"""Checks that need no model: a step holds, fails, or the check abstains with a reason."""
