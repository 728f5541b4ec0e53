"""Resources of a task beside those of an operator: told by a unit test, and by a real API server to be right."""

from typing import Any

from carillon_core.resources.pods import PodSettings

NONE = PodSettings()


def defaults(**resources: dict[str, str]) -> PodSettings:
    """Return an operator's defaults with those resources."""
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
            "spec.pod.resources.requests.memory: is 2Gi, which exceeds the limit of 1Gi in spec.pod.resources: "
            "lower it, or raise that"
        ),
    ),
    "a request over the default's limit": (
        {"requests": {"cpu": "2"}},
        defaults(limits={"cpu": "1500m"}),
        (
            "spec.pod.resources.requests.cpu: is 2, "
            "which exceeds the limit of 1500m of the operator's CARILLON_POD_DEFAULTS: "
            "lower it, or set spec.pod.resources.limits.cpu"
        ),
    ),
    "a request over the runner's limit": (
        {"requests": {"memory": "512Mi"}},
        NONE,
        (
            "spec.pod.resources.requests.memory: is 512Mi, "
            "which exceeds the limit of 256Mi that every runner has by default: "
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
            "spec.pod.resources.limits.memory: is 64Mi, which is below the request of 128Mi of the operator's "
            "CARILLON_POD_DEFAULTS: raise it, or set spec.pod.resources.requests.memory"
        ),
    ),
    "what only the operator could judge, where it is not known": ({"requests": {"memory": "512Mi"}}, None, None),
    "a device without a limit": (
        {"requests": {GPU: "1"}},
        NONE,
        (
            f"spec.pod.resources.requests.{GPU}: has no limit, and must have the same: set "
            f"spec.pod.resources.limits.{GPU} to 1"
        ),
    ),
    "a device whose limit may be the operator's": ({"requests": {GPU: "1"}}, None, None),
    "a device whose limit is another": (
        {"requests": {GPU: "1"}},
        defaults(limits={GPU: "2"}),
        (
            f"spec.pod.resources.requests.{GPU}: is 1, and must be the same as the 2 of the operator's "
            "CARILLON_POD_DEFAULTS: make them equal"
        ),
    ),
    "huge pages that differ": (
        {"limits": {HUGE: "4Mi"}},
        defaults(requests={HUGE: "2Mi"}, limits={HUGE: "2Mi"}),
        (
            f"spec.pod.resources.limits.{HUGE}: is 4Mi, and must be the same as the 2Mi of the operator's "
            "CARILLON_POD_DEFAULTS: make them equal"
        ),
    ),
    "half a device": (
        {"limits": {GPU: "500m"}},
        NONE,
        f"spec.pod.resources.limits.{GPU}: is 500m, which cannot be divided: write a whole number",
    ),
    "a device by its limit alone": ({"limits": {GPU: "1"}}, NONE, None),
}
"""What a task says, what the operator's default says (None: that is not known), and the problem."""
