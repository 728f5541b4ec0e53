"""The routes of reports, which are computed from the history and the schedules, and of the caller's permissions."""

from carillon_api.routes.reports import load, me, statistics, timeline, why

ROUTERS = (statistics.router, timeline.router, load.router, me.router, why.router)
