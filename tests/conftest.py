"""Properties are checked on the same examples every time, and however slow the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "stepmint", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("stepmint")
