"""Kubeconfig files."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carillon_devcluster.layout import ClusterFiles

TEMPLATE = """\
apiVersion: v1
kind: Config
current-context: {name}
clusters:
- name: {name}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
contexts:
- name: {name}
  context:
    cluster: {name}
    user: {name}
users:
- name: {name}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"""


def render(name: str, server: str, files: ClusterFiles, user: str) -> str:
    """Return a kubeconfig with embedded certificates, so that it can be copied."""

    def encoded(content: bytes) -> str:
        return base64.b64encode(content).decode()

    return TEMPLATE.format(
        name=f"carillon-{name}",
        server=server,
        authority=encoded(files.certificate("ca").read_bytes()),
        certificate=encoded(files.certificate(user).read_bytes()),
        key=encoded(files.key(user).read_bytes()),
    )
