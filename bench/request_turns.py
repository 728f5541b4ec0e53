"""How long a turn of a task takes that has many finished RunRequests.

    PYTHONPATH=core:operator:tests .venv/bin/python bench/request_turns.py [N]

Nothing is mocked but the cluster and the history, which are in memory: what is measured is the time for which a turn
holds the operator's loop.
"""

import asyncio
import statistics
import sys
import time

from support.operator import KEY, Operator

ROUNDS = 20


async def measure(count: int) -> None:
    """Print the times of turns with ``count`` finished requests and their Jobs."""
    operator = Operator()
    await operator.create_task(intervalSeconds=3600, concurrencyPolicy="Allow", finishedRequestsHistoryLimit=1000)
    for number in range(count):
        operator.cluster.put_object("RunRequest", KEY[0], f"r{number:05}", {"taskRef": {"name": KEY[1]}})
    await operator.see()
    for _ in range(count // 50 + 2):
        await operator.term.reconciler.reconcile(KEY)
    for job in list(operator.cluster.jobs.values()):
        operator.cluster.finish_pod(KEY[0], job["metadata"]["name"], exit_code=0)
    await operator.see()
    for _ in range(count // 50 + 2):
        await operator.settle()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await operator.term.reconciler.reconcile(KEY)
        times.append(time.perf_counter() - began)
    print(f"{count:>6} requests: median {statistics.median(times) * 1000:.2f} ms, longest {max(times) * 1000:.2f} ms")


if __name__ == "__main__":
    for number in [int(each) for each in sys.argv[1:]] or [10, 100, 400, 1000]:
        asyncio.run(measure(number))
