"""The operator's login: rejected credentials are not retried without a pause."""

import asyncio
import logging
from pathlib import Path

import kopf
import pytest
import yaml
from kopf._core.intents.causes import Activity

from carillon_operator.gather import handlers
from carillon_operator.gather.handlers import registry_of


def write(file: Path, token: str) -> None:
    """Write a kubeconfig with this token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "me", "user": {"token": token}}],
    }
    file.write_text(yaml.safe_dump(config))


async def test_credentials_that_are_the_same_again_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New credentials are used at once: kopf logs in again when its credentials are rejected or have expired."""
    file = tmp_path / "config"
    # the client reads KUBECONFIG once, when it is imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    monkeypatch.setattr(handlers, "SAME_AGAIN_SECONDS", 3600)
    (handler,) = registry_of(lambda *_: None)._activities.get_handlers(Activity.AUTHENTICATION)  # noqa: SLF001  # kopf has no public way to its handlers

    async def login() -> None:
        found = await handler.fn(logger=logging.getLogger(), settings=kopf.OperatorSettings())  # type: ignore[misc, call-arg]  # kopf's types are less precise
        assert isinstance(found, kopf.AiohttpSession)
        await found.aiohttp_session.close()

    write(file, "first")
    await login()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(login(), 0.05)
    write(file, "second")
    await asyncio.wait_for(login(), 30)
