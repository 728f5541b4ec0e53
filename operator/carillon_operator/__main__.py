"""``python -m carillon_operator``: composes the operator and runs it until it is told to stop."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from prometheus_client import CollectorRegistry

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeLeases, wait_until_ready
from carillon_core.adapters.kube.caller import KubeAPIServer
from carillon_core.adapters.kube.cluster import try_job
from carillon_core.adapters.kube.connection import Fence
from carillon_core.adapters.kube.webhooks import KubeWebhookCertificates, apply_webhook_configuration
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import maintain
from carillon_core.adapters.postgres.revisions import PostgresRevisions
from carillon_core.adapters.postgres.runner_keys import PostgresRunnerKeys
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import CarillonError, SettingsError
from carillon_core.logs import configure_logging, get_logger
from carillon_operator.admission.admission import Admission
from carillon_operator.admission.job_trial import JobTrial
from carillon_operator.admission.references import References
from carillon_operator.application import Application
from carillon_operator.gather.handlers import run_kopf
from carillon_operator.guard.guard import Guard
from carillon_operator.guard.loop_turns import LoopTurns
from carillon_operator.guard.pauses import shorten_pauses
from carillon_operator.leadership.election import Elector
from carillon_operator.leadership.endings import unless_stopped
from carillon_operator.leadership.fence import fence
from carillon_operator.metrics import TaskCollector, serve_metrics
from carillon_operator.settings import Settings
from carillon_operator.term import Outside

log = get_logger("carillon_operator")


def main() -> int:
    """Run the operator; return its exit code: 0 when told to stop, 1 for a failure, 2 for an invalid setting."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        print(f"carillon-operator: {error}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level, settings.log_format)
    # kopf logs a line for each event whose handler succeeded
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # the same for each admission request
    if settings.ready_file is not None:
        settings.ready_file.unlink(missing_ok=True)  # a restarted container finds the file of its predecessor
    shorten_pauses()
    try:
        guard = Guard.in_folder(settings.state_folder)
    except OSError as error:
        print(f"carillon-operator: CARILLON_STATE_FOLDER: cannot be written: {error}", file=sys.stderr)
        return 2
    guard.watch()
    turns, registry = LoopTurns(), CollectorRegistry()
    if settings.metrics_port is not None:
        try:
            serve_metrics(settings.metrics_port, registry, turns, guard.quarantine)
        except OSError as error:
            print(f"carillon-operator: CARILLON_METRICS_PORT: cannot be used: {error}", file=sys.stderr)
            return 2
    try:
        with asyncio.Runner(loop_factory=turns.new_loop) as runner:
            return runner.run(_serve(settings, guard, registry))
    except CarillonError as error:
        log.error("stopped by an error", why=str(error))  # noqa: TRY400  # it says what to do
        return 1


async def _serve(settings: Settings, guard: Guard, registry: CollectorRegistry) -> int:
    shard = f"{settings.shard.index} of {settings.shard.count}"
    fields = {"runner_image": settings.runner.image} | ({"shard": shard} if settings.shard.count > 1 else {})
    fields |= {"namespaces": str(settings.scope)} if settings.scope.namespaces else {}
    log.info("starting", **fields)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.runners_own_all:
        hint = "set CARILLON_RUNNER_DATABASE_URL to a user of its own, and run carillon-migrate runner-role"
        log.warning("runners can read and change the whole history", hint=hint)
    history, keys = PostgresHistory.from_url(settings.database_url), PostgresRunnerKeys.from_url(settings.database_url)
    revisions = PostgresRevisions.from_url(settings.database_url)
    maintenance = partial(maintain, settings.database_url, _now, settings.history_retention_days)
    try:
        async with KubeConnection(settings.kubeconfig) as connection, _elector(settings) as elector:
            leads = None if elector is None else fence(elector.leads)
            identity = None if settings.lease is None else settings.lease.identity
            cluster = KubeCluster(connection, identity, fence=leads)
            if await unless_stopped(stop, wait_until_ready(connection)):
                admission = _admission(settings, connection, cluster)
                live = settings.liveness_endpoint
                observe = partial(run_kopf, scope=settings.scope, liveness_endpoint=live, admission=admission)
                outside = Outside(
                    reader=cluster,
                    writer=cluster,
                    history=history,
                    keys=keys,
                    maintain=maintenance,
                    revisions=revisions,
                    renew=_renewal(settings, connection, leads),
                )
                app = Application(settings, outside, observe, _now, elector, guard)
                registry.register(TaskCollector(app.store, app.ownership, settings.task_metrics))
                await app.run(stop)
    finally:
        await revisions.aclose()
        await keys.aclose()
        await history.aclose()
    log.info("stopped")
    return 0


def _admission(settings: Settings, connection: KubeConnection, cluster: KubeCluster) -> Admission | None:
    if settings.webhook is None:
        return None
    server, runner = KubeAPIServer(connection), settings.runner

    async def review_access(subject: Subject, access: Access) -> Decision:
        return await server.acting_as(subject).review(access)

    return Admission(
        settings.webhook,
        partial(apply_webhook_configuration, connection),
        review_access,
        _now,
        runner.http_allow,
        runner.pod,
        settings.scope,
        JobTrial(runner, partial(try_job, connection), _now),
        # the permission to read Secrets comes with this policy
        References(cluster.get_object, cluster.secret_labels if settings.target_secrets == "labelled" else None),
    )


def _renewal(
    settings: Settings, connection: KubeConnection, leads: Fence | None
) -> Callable[[], Coroutine[None, None, None]] | None:
    """Return what keeps the webhook's certificate valid, if that is the operator's."""
    webhook = settings.webhook
    if webhook is None or webhook.secret is None:
        return None
    # a library of 16 MB that nothing else needs
    from carillon_operator.renewal.renewer import Renewer  # noqa: PLC0415

    certificates = KubeWebhookCertificates(connection, webhook.secret, webhook.configuration, leads)
    return Renewer(certificates, _now).run


@asynccontextmanager
async def _elector(settings: Settings) -> AsyncGenerator[Elector | None]:
    """Give the candidate for the Lease, with its own connection, so that no renewal waits for a launch."""
    if settings.lease is None:
        yield None
        return
    async with KubeConnection(settings.kubeconfig, in_flight=1) as connection:
        yield Elector(KubeLeases(connection), settings.lease, _now)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
