"""The routes of reports, which are computed from the history and the schedules, and of the caller's permissions."""

from carillon_api.routes.reports import me, statistics, timeline

ROUTERS = (statistics.router, timeline.router, me.router)
