"""Download and export everything your CircleCI projects produced, as fast as the rate limit allows and not faster.

The public names, loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiocircle._version import __version__

if TYPE_CHECKING:
    from aiocircle.api import Artifact as Artifact
    from aiocircle.api import Job as Job
    from aiocircle.api import JobDetails as JobDetails
    from aiocircle.api import Pipeline as Pipeline
    from aiocircle.api import Project as Project
    from aiocircle.api import TestResult as TestResult
    from aiocircle.api import User as User
    from aiocircle.api import Workflow as Workflow
    from aiocircle.auth import AuthScheme as AuthScheme
    from aiocircle.auth import Token as Token
    from aiocircle.blocking import BlockingClient as BlockingClient
    from aiocircle.client import Client as Client
    from aiocircle.crawl.selection import Selection as Selection
    from aiocircle.download.downloader import Download as Download
    from aiocircle.download.filters import Shard as Shard
    from aiocircle.download.options import DownloadOptions as DownloadOptions
    from aiocircle.download.planfile import Plan as Plan
    from aiocircle.download.report import ItemOutcome as ItemOutcome
    from aiocircle.download.report import ItemStatus as ItemStatus
    from aiocircle.download.report import Report as Report
    from aiocircle.errors import AioCircleError as AioCircleError
    from aiocircle.events import Event as Event
    from aiocircle.export.exporter import Export as Export
    from aiocircle.export.exporter import ExportReport as ExportReport
    from aiocircle.export.options import ExportOptions as ExportOptions
    from aiocircle.pagination import Page as Page
    from aiocircle.pagination import Paginator as Paginator
    from aiocircle.response import Response as Response
    from aiocircle.retry import RetryPolicy as RetryPolicy
    from aiocircle.slugs import ProjectSlug as ProjectSlug
    from aiocircle.timeouts import Timeouts as Timeouts
    from aiocircle.unset import UNSET as UNSET

_HOMES = {
    "aiocircle.api": "Artifact Job JobDetails Pipeline Project TestResult User Workflow",
    "aiocircle.auth": "AuthScheme Token",
    "aiocircle.blocking": "BlockingClient",
    "aiocircle.client": "Client",
    "aiocircle.crawl.selection": "Selection",
    "aiocircle.download.downloader": "Download",
    "aiocircle.download.options": "DownloadOptions",
    "aiocircle.download.filters": "Shard",
    "aiocircle.download.planfile": "Plan",
    "aiocircle.download.report": "ItemOutcome ItemStatus Report",
    "aiocircle.errors": "AioCircleError",
    "aiocircle.events": "Event",
    "aiocircle.export.exporter": "Export ExportReport",
    "aiocircle.export.options": "ExportOptions",
    "aiocircle.pagination": "Page Paginator",
    "aiocircle.response": "Response",
    "aiocircle.retry": "RetryPolicy",
    "aiocircle.slugs": "ProjectSlug",
    "aiocircle.timeouts": "Timeouts",
    "aiocircle.unset": "UNSET",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604 -- names from the table above


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
