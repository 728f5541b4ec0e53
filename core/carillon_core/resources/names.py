"""The names of the API group, its kinds, and the labels and annotations of objects that Carillon creates."""

GROUP = "carillon.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ScheduledTask"
PLURAL = "scheduledtasks"
SINGULAR = "scheduledtask"
SHORT_NAME = "schtask"
CATEGORY = "carillon"

KIND_TARGET = "HTTPTarget"
PLURAL_TARGETS = "httptargets"
KIND_REQUEST = "RunRequest"
PLURAL_REQUESTS = "runrequests"

MAX_NAME_LENGTH = 52
"""A Job's name (63 at most) is the task's name, a hyphen and the slot's ten digits."""

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "carillon"
RUNNER_SECRET = "carillon-runner"  # noqa: S105  # the name of a Secret, not a secret
"""The Secret with the runners' login, where they have one."""
LABEL_HTTP_TARGET = f"{GROUP}/http-target"
"""With the value ``true``, HTTPTargets of the namespace may use the Secret."""
LABEL_TASK = f"{GROUP}/task"
LABEL_TASK_UID = f"{GROUP}/task-uid"
ANNOTATION_SLOT = f"{GROUP}/slot"
ANNOTATION_EXECUTION_ID = f"{GROUP}/execution-id"
LABEL_REQUEST = f"{GROUP}/run-request"
LABEL_REQUEST_UID = f"{GROUP}/run-request-uid"
ANNOTATION_TASK_TYPE = f"{GROUP}/task-type"
LABEL_EXECUTION_ID = ANNOTATION_EXECUTION_ID
"""On a RunRequest created by the facade: the id of its execution, to find it before the history has a row."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""On a Job: its Kueue LocalQueue."""
ANNOTATION_RETRY_OF = f"{GROUP}/retry-of"
"""On a Job: the id of the execution that it retries."""
