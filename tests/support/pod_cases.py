"""Cases of a task's and an operator's pod resources, for a unit test and for a comparison with a real API server."""

from typing import Any

from carillon_core.resources.pods import PodSettings

NONE = PodSettings()


def defaults(**resources: dict[str, str]) -> PodSettings:
    """Return an operator's defaults with these resources."""
    return PodSettings.model_validate({"resources": resources})


GPU = "example.com/gpu"
HUGE = "hugepages-2Mi"
CASES: dict[str, tuple[dict[str, Any], PodSettings | None, str | None]] = {
    "nothing said is nothing wrong": ({}, NONE, None),
    "a request up to the limit": ({"requests": {"memory": "1024Ki"}, "limits": {"memory": "1Mi"}}, NONE, None),
    "a request over its own limit": (
        {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
        None,
        (
            "spec.pod.resources.requests.memory: must be at most the limit of 1Gi in spec.pod.resources (got 2Gi): "
            "lower it, or raise the limit"
        ),
    ),
    "a request over the default's limit": (
        {"requests": {"cpu": "2"}},
        defaults(limits={"cpu": "1500m"}),
        (
            "spec.pod.resources.requests.cpu: "
            "must be at most the limit of 1500m in the operator's CARILLON_POD_DEFAULTS (got 2): "
            "lower it, or set spec.pod.resources.limits.cpu"
        ),
    ),
    "a request over the runner's limit": (
        {"requests": {"memory": "512Mi"}},
        NONE,
        (
            "spec.pod.resources.requests.memory: "
            "must be at most the limit of 256Mi that runners have by default (got 512Mi): "
            "lower it, or set spec.pod.resources.limits.memory"
        ),
    ),
    "a request that the default's limit leaves room for": (
        {"requests": {"memory": "512Mi"}},
        defaults(limits={"memory": "1Gi"}),
        None,
    ),
    "a limit under the default's request": (
        {"limits": {"memory": "64Mi"}},
        defaults(requests={"memory": "128Mi"}),
        (
            "spec.pod.resources.limits.memory: must be at least the request of 128Mi in the operator's "
            "CARILLON_POD_DEFAULTS (got 64Mi): raise it, or set spec.pod.resources.requests.memory"
        ),
    ),
    "what only the operator could judge, where it is not known": ({"requests": {"memory": "512Mi"}}, None, None),
    "a device without a limit": (
        {"requests": {GPU: "1"}},
        NONE,
        (
            f"spec.pod.resources.requests.{GPU}: must equal the limit (got 1, no limit): set "
            f"spec.pod.resources.limits.{GPU} to 1"
        ),
    ),
    "a device whose limit may be the operator's": ({"requests": {GPU: "1"}}, None, None),
    "a device whose limit is another": (
        {"requests": {GPU: "1"}},
        defaults(limits={GPU: "2"}),
        (
            f"spec.pod.resources.requests.{GPU}: must equal the limit of 2 in the operator's "
            "CARILLON_POD_DEFAULTS (got 1)"
        ),
    ),
    "huge pages that differ": (
        {"limits": {HUGE: "4Mi"}},
        defaults(requests={HUGE: "2Mi"}, limits={HUGE: "2Mi"}),
        (
            f"spec.pod.resources.limits.{HUGE}: must equal the request of 2Mi in the operator's "
            "CARILLON_POD_DEFAULTS (got 4Mi)"
        ),
    ),
    "half a device": (
        {"limits": {GPU: "500m"}},
        NONE,
        f"spec.pod.resources.limits.{GPU}: must be a whole number (got 500m)",
    ),
    "a device by its limit alone": ({"limits": {GPU: "1"}}, NONE, None),
}
"""A task's resources, the operator's defaults (None: not known), and the problem."""
