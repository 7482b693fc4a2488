"""One HTML page from what an export or a download left in a directory, to be looked at."""

from aiocircle.report.writing import render_report, write_report

__all__ = ["render_report", "write_report"]
