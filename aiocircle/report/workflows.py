"""Workflows over time: how many ran, how many succeeded, how long they took."""

from collections.abc import Sequence

from aiocircle.report.amounts import count, moment
from aiocircle.report.amounts import share as in_percent
from aiocircle.report.courses import Names, bands, labels
from aiocircle.report.database import Bins, Database, bins_of, epoch_of
from aiocircle.report.parts import Absent, Cell, Grid, Part, Plot, Section

MOST_WORKFLOWS = 12
OUTCOMES = ("succeeded", "failed", "cancelled", "other")
OUTCOME = """
    CASE WHEN status = 'success' THEN 'succeeded' WHEN status IN ('failed', 'error') THEN 'failed'
         WHEN status IN ('canceled', 'cancelled') THEN 'cancelled' ELSE 'other' END"""
RATE = "Success is counted among runs that succeeded or failed: cancelled, held and unfinished runs count for neither."


def workflow_section(database: Database) -> Section:
    """Return the section of workflows."""
    title = "Workflows"
    if not database.has("workflows", "project", "name", "status", "duration_seconds"):
        why = "the export has no workflows: export the dataset workflows."
        return Section("workflows", title, [Absent("Workflows over time", why)])
    database.derive(
        "run",
        f"""SELECT project, COALESCE(name, '') AS name, {OUTCOME} AS outcome, duration_seconds AS duration,
            {epoch_of("COALESCE(created_at, pipeline_created_at)")} AS began FROM workflows""",
    )
    bins = bins_of(database, "run", "began")
    if bins is None:
        return Section("workflows", title, [Absent("Workflows over time", "no workflow of the export has a date.")])
    busiest = database.all("SELECT project, name, COUNT(*) FROM run GROUP BY project, name ORDER BY 3 DESC, 1, 2")
    names = labels([(project, name) for project, name, _ in busiest])
    kept = dict(list(names.items())[:MOST_WORKFLOWS])
    left_out = len(names) - len(kept)
    notes = [f"Shown are the {len(kept)} workflows that ran most; {left_out:,} more are left out."] if left_out else []
    return Section(
        "workflows",
        title,
        [_rates(database, bins, kept, notes), _runs(database, bins), _durations(database, kept, notes)],
    )


def outcome_course(database: Database) -> tuple[Sequence[int], Sequence[float | None]]:
    """Return the number of runs, and the rate of success, in each bin: the headline figures' courses."""
    bins = bins_of(database, "run", "began") if database.columns("run") else None
    if bins is None:
        return [], []
    runs = [0] * bins.number
    rates: list[float | None] = [None] * bins.number
    query = f"""SELECT {bins.of("began")}, COUNT(*), SUM(outcome = 'succeeded'), SUM(outcome = 'failed')
                FROM run WHERE began IS NOT NULL GROUP BY 1"""
    for place, number, good, bad in database.rows(query):
        runs[place] = number
        rates[place] = good / (good + bad) if good + bad else None
    return runs, rates


def _rates(database: Database, bins: Bins, names: Names, notes: list[str]) -> Part:
    strips = {group: [[0, 0] for _ in range(bins.number)] for group in names}
    query = f"""SELECT project, name, {bins.of("began")}, SUM(outcome = 'succeeded'), SUM(outcome = 'failed')
                FROM run WHERE began IS NOT NULL GROUP BY 1, 2, 3"""
    for project, name, place, good, bad in database.rows(query):
        if (project, name) in strips:
            strips[project, name][place] = [good, bad]
    totals = {group: [sum(cell[n] for cell in cells) for n in (0, 1)] for group, cells in strips.items()}
    if not any(good + bad for good, bad in totals.values()):
        return Absent("Success rate by workflow", "no workflow has succeeded or failed yet.")
    rows: list[Sequence[Cell]] = [
        (names[group], moment(start, exact=True), count(good), count(bad), in_percent(good, good + bad))
        for group, cells in strips.items()
        for start, (good, bad) in zip(bins.starts, cells, strict=True)
        if good + bad
    ]
    overall = [sum(total[n] for total in totals.values()) for n in (0, 1)]
    return Plot(
        id="success",
        kind="strips",
        title="Success rate by workflow",
        lead=f"Each column is one {bins.word}: from below what succeeded, from above what failed. {RATE}",
        label=f"Success rate of {len(names)} workflows by {bins.word}: {in_percent(overall[0], sum(overall))} in all",
        data={
            **bins.data(),
            "strips": [
                {"name": names[group], "cells": [cell if any(cell) else None for cell in cells], "total": totals[group]}
                for group, cells in strips.items()
                if any(totals[group])
            ],
        },
        grid=Grid(["Workflow", f"{bins.word.title()} from (UTC)", "Succeeded", "Failed", "Rate"], rows, range(2, 99)),
        notes=notes,
        is_wide=True,
    )


def _runs(database: Database, bins: Bins) -> Part:
    layers = {outcome: [0] * bins.number for outcome in OUTCOMES}
    query = f"SELECT outcome, {bins.of('began')}, COUNT(*) FROM run WHERE began IS NOT NULL GROUP BY 1, 2"
    for outcome, place, number in database.rows(query):
        layers[outcome][place] = number
    totals = {outcome: sum(values) for outcome, values in layers.items()}
    shown_layers = {outcome: values for outcome, values in layers.items() if totals[outcome]}
    rows: list[Sequence[Cell]] = [
        (moment(start, exact=True), *(count(values[place]) for values in shown_layers.values()))
        for place, start in enumerate(bins.starts)
        if any(values[place] for values in shown_layers.values())
    ]
    words = ", ".join(f"{number:,} {outcome}" for outcome, number in totals.items() if number)
    return Plot(
        id="runs",
        kind="stack",
        title="Runs by outcome",
        lead=f"Workflow runs that began in each {bins.word}; reruns are runs of their own.",
        label=f"Workflow runs by outcome and {bins.word}: {words}",
        data={
            **bins.data(),
            "unit": "runs",
            "layers": [
                {"name": outcome, "values": values, "style": outcome} for outcome, values in shown_layers.items()
            ],
        },
        grid=Grid([f"{bins.word.title()} from (UTC)", *map(str.title, shown_layers)], rows),
    )


def _durations(database: Database, names: Names, notes: list[str]) -> Part:
    ours = "run WHERE outcome = 'succeeded' AND duration IS NOT NULL"
    bins = bins_of(database, ours, "began", enough=True)
    if bins is None:
        return Absent("Duration by workflow", "no run that succeeded has a duration.")
    source = f"""SELECT project, name, {bins.of("began")} AS place_in_time, duration AS value
                 FROM {ours} AND began IS NOT NULL"""
    found: dict[tuple[str, str], list[list[float | None]]] = {}
    every = database.percentiles(source, "project, name, place_in_time", 50, 90, 99)
    for project, name, place, number, *values in every:
        if (project, name) in names:
            columns = found.setdefault((project, name), [[None] * bins.number for _ in range(4)])
            for column, value in zip(columns, (number, *values), strict=True):
                column[place] = round(value, 1)
    if not found:
        return Absent("Duration by workflow", "no run that succeeded has a duration.")
    return bands(
        bins,
        {names[group]: found[group] for group in names if group in found},
        id="durations",
        title="Duration by workflow",
        lead="From begin to stop of runs that succeeded, waits for approvals included. Half of the runs were faster "
        "than p50, one in ten slower than p90, one in a hundred slower than p99.",
        what="Workflow",
        ranks=(50, 90, 99),
        number_of="runs",
        notes=list(notes),
    )
