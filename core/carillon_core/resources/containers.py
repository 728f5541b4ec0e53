"""The parts of task types that run the user's own pods: a container, or a whole Job."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError, to_json

from carillon_core.name_patterns import LABEL_PREFIX, LABEL_WORD, is_dns_label
from carillon_core.resources.base import Model
from carillon_core.resources.nesting import MOST_BYTES, FreeObject

ENV_NAME_PATTERN = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
IMAGE_PATTERN = r"^\S+$"
QUANTITY = r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?$"
RESOURCE_NAME = rf"^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMGTPE]i|{LABEL_PREFIX}/{LABEL_WORD})$"
MOST_TEXT = 256 * 1024
"""The characters of a container's command, arguments and variables together."""
TOO_MUCH_TEXT = (
    f"has more than {MOST_TEXT} characters in command, args and the values of env together: pass the data in a volume, "
    "or over the network"
)
VARIABLE_SOURCES = ("configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef")
ENVIRONMENT_SOURCES = ("configMapRef", "secretRef")

ObjectName = Annotated[str, Field(min_length=1, max_length=253)]


def one_of(given: Model, fields: tuple[str, ...]) -> None:
    """Check that a model has exactly one of these fields.

    Raises:
        ValueError: It has none, or several.

    """
    found = [name for name, attribute in zip(fields, map(_attribute, fields), strict=True) if getattr(given, attribute)]
    if not found:
        msg = f"has none of {', '.join(fields)}: add one"
        raise ValueError(msg)
    if len(found) > 1:
        msg = f"has {' and '.join(found)}: keep exactly one of them"
        raise ValueError(msg)


def _attribute(field: str) -> str:
    return re.sub("([A-Z])", lambda found: f"_{found[0].lower()}", field)


class KeyReference(Model):
    """A reference to a key of a ConfigMap or Secret in the same namespace."""

    name: ObjectName
    """The name of the ConfigMap or Secret."""
    key: ObjectName
    """The key."""
    optional: bool = False
    """If true, the variable is left unset when the object or the key does not exist. If false, the container does not
    start until both exist. Default: false."""


class FieldReference(Model):
    """A reference to a field of the pod."""

    field_path: str = Field(min_length=1, max_length=512)
    """The path of the field, such as metadata.name, or metadata.annotations['carillon.dev/slot']."""


class ResourceFieldReference(Model):
    """A reference to a resource of the container."""

    resource: str = Field(min_length=1, max_length=317)
    """The resource, such as limits.memory."""
    divisor: str | None = Field(default=None, max_length=32)
    """The unit of the value, such as 1Mi. Default: 1."""


class VariableSource(Model):
    """Where the value of an environment variable comes from: exactly one source."""

    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""
    field_ref: FieldReference | None = None
    """A field of the pod."""
    resource_field_ref: ResourceFieldReference | None = None
    """A resource of the container."""
    secret_key_ref: KeyReference | None = None
    """A key of a Secret."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "VariableSource":
        one_of(self, VARIABLE_SOURCES)
        return self


class ObjectReference(Model):
    """A reference to a ConfigMap or Secret in the same namespace."""

    name: ObjectName
    """The name of the ConfigMap or Secret."""
    optional: bool = False
    """If true, the object may be missing. If false, the container does not start until it exists. Default: false."""


class EnvironmentSource(Model):
    """A ConfigMap or Secret whose keys become environment variables: exactly one of them."""

    prefix: str = Field(default="", max_length=256)
    """The prefix of the variables' names. Default: none."""
    config_map_ref: ObjectReference | None = None
    """The ConfigMap."""
    secret_ref: ObjectReference | None = None
    """The Secret."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "EnvironmentSource":
        one_of(self, ENVIRONMENT_SOURCES)
        return self


class VolumeMount(Model):
    """A mount of a volume in the container."""

    name: ObjectName
    """The name of the volume."""
    mount_path: str = Field(min_length=1, max_length=4096)
    """The path in the container; it must not contain a colon."""
    sub_path: str | None = Field(default=None, max_length=4096)
    """The path in the volume. Default: its root."""
    sub_path_expr: str | None = Field(default=None, max_length=4096)
    """Like subPath, but expands environment variables, such as $(CARILLON_JOB_NAME). Set at most one of subPath and
    subPathExpr."""
    read_only: bool = False
    """Whether the container can only read it. Default: false."""
    mount_propagation: str | None = Field(default=None, max_length=32)
    """How mounts are passed between the node and the container: None, HostToContainer or Bidirectional."""


def _named(given: dict[str, Any]) -> dict[str, Any]:
    name = given.get("name")
    if not isinstance(name, str) or not is_dns_label(name):
        msg = "has no valid name: use at most 63 lowercase letters, digits and hyphens"
        raise ValueError(msg)
    return given


Volume = Annotated[FreeObject, AfterValidator(_named)]
"""A volume with a name, and one source: any that a pod may have."""


def _environment_name(name: str) -> str:
    if not re.match(ENV_NAME_PATTERN, name) or name.endswith("\n"):
        msg = "is not a valid environment variable name: use letters, digits, '-', '_' and '.', not a digit first"
        raise ValueError(msg)
    return name


class EnvironmentVariable(Model):
    """An environment variable."""

    name: Annotated[
        str,
        AfterValidator(_environment_name),
        Field(min_length=1, max_length=256, json_schema_extra={"pattern": ENV_NAME_PATTERN}),
    ]
    """The name of the variable."""
    value: str | None = Field(default=None, max_length=65_536)
    """The value of the variable. Default: empty. Not valid with valueFrom."""
    value_from: VariableSource | None = None
    """The source of the value: a key of a ConfigMap or Secret, a field of the pod, or a resource of the container. Not
    valid with value."""

    @model_validator(mode="after")
    def _one_value(self) -> "EnvironmentVariable":
        if self.value and self.value_from is not None:
            msg = "has value and valueFrom: keep exactly one of them"
            raise ValueError(msg)
        return self


ResourceName = Annotated[str, Field(min_length=1, max_length=317, pattern=RESOURCE_NAME)]
Quantity = Annotated[str, Field(max_length=32, pattern=QUANTITY)]


class ContainerResources(Model):
    """The resource requests and limits of a container, as in a pod."""

    requests: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16)
    """Requested resources, such as cpu: 100m."""
    limits: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16)
    """Resource limits, such as memory: 256Mi."""


class ContainerTask(Model):
    """Run a command in any container image. Exit code 0 is success; the termination message is recorded."""

    image: str = Field(min_length=1, max_length=1024, pattern=IMAGE_PATTERN)
    """The container image."""
    command: list[Annotated[str, Field(max_length=65_536)]] = Field(default_factory=list, max_length=64)
    """The command, replacing the image's entrypoint. Default: the entrypoint of the image."""
    args: list[Annotated[str, Field(max_length=65_536)]] = Field(default_factory=list, max_length=256)
    """The arguments of the command. Default: those of the image."""
    env: list[EnvironmentVariable] = Field(default_factory=list, max_length=128)
    """Additional environment variables. CARILLON_EXECUTION_ID, CARILLON_SLOT and others are always set. Database
    credentials are never passed."""
    env_from: list[EnvironmentSource] = Field(default_factory=list, max_length=64)
    """ConfigMaps and Secrets whose keys become environment variables; env overrides those of the same name."""
    volumes: list[Volume] = Field(default_factory=list, max_length=64)
    """The pod's volumes, with the fields of a pod's spec.volumes."""
    volume_mounts: list[VolumeMount] = Field(default_factory=list, max_length=64)
    """The mounts of the volumes in the container."""
    service_account_name: ObjectName | None = None
    """The name of the ServiceAccount in the task's namespace. Default: that of spec.pod, or the operator's default."""
    automount_service_account_token: bool = False
    """Whether to mount the ServiceAccount's token, which lets the container call the Kubernetes API. Default: false."""
    working_dir: str | None = Field(default=None, min_length=1, max_length=4096)
    """The working directory. Default: that of the image."""
    run_as_user: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """The numeric user id; root (0) is not allowed. Default: the user of the image, which must not be root."""
    resources: ContainerResources = Field(default_factory=ContainerResources)
    """The resource requests and limits of the container."""

    @model_validator(mode="after")
    def _small_enough(self) -> "ContainerTask":
        texts = [*self.command, *self.args, *(each.value or "" for each in self.env)]
        if sum(map(len, texts)) > MOST_TEXT:
            raise ValueError(TOO_MUCH_TEXT)
        if len(to_json(self.volumes)) > MOST_BYTES:
            msg = f"has volumes that are larger than {MOST_BYTES} bytes as JSON: refer to ConfigMaps instead"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> "ContainerTask":
        names = {volume["name"] for volume in self.volumes}
        for number, mount in enumerate(self.volume_mounts):
            if mount.name not in names:
                msg = "is not the name of a volume of this task: add the volume to volumes, or correct the name"
                raise PydanticCustomError("field", msg, {"field": f"volumeMounts[{number}].name"})
        return self


class JobTask(Model):
    """Run a Kubernetes Job, defined as in a CronJob. The Job's own conditions decide whether it succeeded."""

    template: FreeObject
    """The Job, as in the jobTemplate of a CronJob: metadata with labels and annotations, and the spec of a Job. Do
    not set the name, ownerReferences, suspend, ttlSecondsAfterFinished, selector, manualSelector or managedBy; use
    suspend and ttlSecondsAfterFinished of the task. The slot is in the annotation carillon.dev/slot of Job and pods.
    The default of terminationMessagePolicy is FallbackToLogsOnError, so that the end of a failed container's log is
    recorded."""
