"""Write the chart's README, its values explained: ``python -m carillon_chart.reference [--output FILE]``."""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from carillon_local.layout import CHART

HEAD = """<!-- Generated from values.yaml and values.schema.json by `make manifests`: change those, not this. -->
# The chart

Carillon's CRDs, operator, API, migrations and roles, with Helm 4 (3.18 or later works too).

```sh
helm install carillon charts/carillon --namespace carillon-system --create-namespace --set postgres.enabled=true \\
  --set operator.image.repository=registry.example.com/carillon-operator \\
  --set operator.runnerImage.repository=registry.example.com/carillon-runner
helm test carillon --namespace carillon-system
```

That is a trial, with a Postgres of its own; `make images` makes the images, which are pushed where the cluster pulls
from. Not with `helm template` or a GitOps tool: its passwords are made at random and read back from the cluster. For
life, make a Secret with the database's URLs and name it:

```sh
kubectl create namespace carillon-system
kubectl create secret generic carillon-database --namespace carillon-system \\
  --from-literal=database-url=postgresql://owner:…@db.example.com:5432/carillon \\
  --from-literal=runner-database-url=postgresql://runner:…@db.example.com:5432/carillon \\
  --from-literal=api-database-url=postgresql://api:…@db.example.com:5432/carillon \\
  --from-literal=token-key="$(openssl rand -hex 32)"
helm install carillon charts/carillon --namespace carillon-system --set database.existingSecret=carillon-database \\
  --set database.apiRole=true --set operator.image.repository=… --set operator.runnerImage.repository=… --timeout 15m
```

The first user owns the tables. The migration makes the other two, if the first may create roles, and bounds them:
runners may record their own execution, the API may do what it does and no more. A release whose Secret has no
`api-database-url` goes on with the owner's until that is added and `database.apiRole` set.

`helm upgrade` migrates the database and upgrades the CRDs. A migration only adds, so that what runs meanwhile, and what
`helm rollback` brings back, goes on with the newer schema. After a role's password has changed in the Secret,
`helm upgrade` gives it to the role and starts the pods anew.

A release is for all namespaces, or for those of `watch.namespaces`: then the operator has roles in these alone, and the
API serves them alone. The API's account keeps its ClusterRole, for tokens, reviews and users are of no namespace. Such
releases live side by side, each in a namespace of its own, also over one database, as long as no namespace is in two
lists; all but one have `crds.install=false` and `rbac.peoplesRoles=false`. One that would share a namespace is refused
while the operators of the other run, for which Helm lists the Deployments of all namespaces. A namespace that is taken
off the list is left as it is: let its executions end first. One that is to be deleted is taken off before, or Helm
cannot upgrade.

While `api.autoscaling.enabled`, the API's Deployment says no number of replicas, so that Helm 4, which applies on the
server's side, does not contend for it with the HorizontalPodAutoscaler; at the upgrade that turns autoscaling on, there
is one replica for the moment until the autoscaler acts. What else was changed by hand (`kubectl scale`) is a conflict
that Helm names: change it in the values, or upgrade with `--force-conflicts`. `postgres.storage` and
`postgres.storageClassName` are of a StatefulSet's volume, which cannot be changed: the API server refuses the upgrade.
Dump, uninstall, delete the volume's claim, install and restore.

`helm uninstall` leaves the CRDs, and with them all tasks, and the bundled database's volume and passwords; installed
again under the same name, the release takes them over. CRDs that were applied by hand before, or by a release of
another name, are taken over with `--take-ownership`. What stays besides: the Leases, and a Secret `carillon-runner` in
each namespace of tasks (`kubectl delete secret --all-namespaces --field-selector metadata.name=carillon-runner`).

HTTP and container tasks of the release's own namespace reach nothing but DNS and the database, for its network policies
close it to all pods: keep tasks elsewhere. They also close it to the solver of cert-manager's HTTP-01.

All pods satisfy the Pod Security standard *restricted*. `files/rbac` has the roles, with comments; the names
carillon-view, -run, -runner, -edit and -audit are the cluster's. Keep the namespace to Carillon: whoever may start pods
in it can act as the API's account, and so as anybody.

## Values

A value that is not here, or is of the wrong type, is refused by `helm install` with its name.

| Value | Default | What it is |
| --- | --- | --- |
"""
_LONGEST = 60


def readme() -> str:
    """Return the page, the same at every call."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    return HEAD + "".join(_row(*each) for each in leaves(schema, values))


def leaves(schema: Mapping[str, Any], values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield each value that has a default: its path, the default and its description."""
    for name, part in schema["properties"].items():
        if name not in values:
            continue
        where = f"{path}.{name}".lstrip(".")
        if part.get("properties") and "requests" not in part["properties"]:
            yield from leaves(part, values[name], where)
        else:
            yield where, values[name], part["description"]


def _row(path: str, default: Any, description: str) -> str:
    shown = json.dumps(default, ensure_ascii=False)
    told = f"`{shown}`" if len(shown) <= _LONGEST else "see values.yaml"
    return f"| `{path}` | {told} | {description.replace('|', '/')} |\n"


def main() -> None:
    """Print the page, or write it to ``--output``."""
    parser = argparse.ArgumentParser(prog="python -m carillon_chart.reference", description=main.__doc__)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there")
    file: Path | None = parser.parse_args().output
    if file is None:
        print(readme(), end="")
        return
    file.write_text(readme(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
