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

Carillon's CRDs, operator, API, migrations and roles, for Helm 4 (3.18 or later works too).

```sh
helm install carillon charts/carillon --namespace carillon-system --create-namespace --set postgres.enabled=true \\
  --set operator.image.repository=registry.example.com/carillon-operator \\
  --set operator.runnerImage.repository=registry.example.com/carillon-runner
helm test carillon --namespace carillon-system
```

This installs a trial with its own Postgres. `make images` builds the images; push them to a registry that the
cluster pulls from. Do not use the bundled Postgres with `helm template` or a GitOps tool: its passwords are random
and are read back from the cluster. For production, create a Secret with the database's URLs and name it:

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

The first user owns the tables. If the first user may create roles, the migration creates the other two and limits
them: runners can record their own execution, and the API can do what it needs. A release whose Secret has no
`api-database-url` keeps using the owner's login until you add the key and set `database.apiRole`.

`helm upgrade` migrates the database and upgrades the CRDs. A migration only adds, so the old version keeps working
during the upgrade and after `helm rollback`. After changing a role's password in the Secret, run `helm upgrade`: it
updates the role and restarts the pods.

A release serves all namespaces, or those of `watch.namespaces`. With a list, the operator has roles in these
namespaces only, and the API serves only these. The API's account keeps its ClusterRole, because tokens, access
reviews and users have no namespace. Several such releases can run side by side, each in its own namespace, and can
share a database, if no namespace is in two lists. All but one of them must set `crds.install=false` and
`rbac.peoplesRoles=false`. Helm refuses a release that would share a namespace with running operators of another
release; to find them, it lists the Deployments of all namespaces. A namespace that you remove from the list is left
as it is: let its executions end first. Remove a namespace from the list before you delete it, or Helm cannot
upgrade.

While `api.autoscaling.enabled` is true, the API's Deployment does not set its number of replicas, so that Helm 4,
which uses server-side apply, does not compete with the HorizontalPodAutoscaler. The upgrade that turns autoscaling
on leaves one replica until the autoscaler acts. Other changes made by hand (`kubectl scale`) cause conflicts, which
Helm reports: change the value instead, or upgrade with `--force-conflicts`. `postgres.storage` and
`postgres.storageClassName` belong to the volume of a StatefulSet and cannot be changed in place: dump the database,
uninstall, delete the volume claim, install and restore.

`helm uninstall` keeps the CRDs, and with them all tasks, and the bundled database's volume and passwords. A release
installed again under the same name adopts them. To adopt CRDs that were applied by hand or by a release with
another name, use `--take-ownership`. The Leases remain as well, and with `recorder.enabled=false` a Secret
`carillon-runner` in each namespace with tasks (`kubectl delete secret --all-namespaces --field-selector
metadata.name=carillon-runner`).

HTTP and container tasks in the release's own namespace reach only DNS and the database, because its network
policies apply to all pods there: keep tasks in other namespaces. The policies also block cert-manager's HTTP-01
solver.

All pods meet the Pod Security standard *restricted*. The roles are in `files/rbac`, with comments; the names
carillon-view, -run, -runner, -edit and -audit are cluster-wide. Run nothing else in the namespace: anyone who can
start pods in it can act as the API's service account, and therefore as anyone.

## Values

`helm install` refuses unknown values and values of the wrong type, and names them.

| Value | Default | Description |
| --- | --- | --- |
"""
_LONGEST = 60


def readme() -> str:
    """Return the page; it is deterministic."""
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
    parser.add_argument("--output", type=Path, metavar="FILE", help="the file to write")
    file: Path | None = parser.parse_args().output
    if file is None:
        print(readme(), end="")
        return
    file.write_text(readme(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
