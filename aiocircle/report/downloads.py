"""A download, from its ledger: how fast it was, what was slow, what failed and how to repeat it."""

import shlex
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from aiocircle.report import amounts
from aiocircle.report.activity import PAUSE, Activity
from aiocircle.report.amounts import NOTHING, count, counted, duration, moment, shown, web_address
from aiocircle.report.database import Database
from aiocircle.report.parts import Absent, Cell, Grid, Link, Listing, Part, Plot, Section, Tile

MOST_RUNS = 6
MOST_BARS = 15
MOST_CODES = 30
MOST_FAILURES = 100
UNKNOWN = Absent(
    "Waits for the rate limit",
    "the ledger records files, not requests: how long a run waited, its repetitions and refusals are in the summary "
    "that 'aiocircle download' ends with (or its --json).",
)
_WHOLE = "inode IS NULL"
_TIMED = f"{_WHOLE} AND began IS NOT NULL AND ended >= began"


def download_tiles(database: Database) -> list[Tile]:
    """Return the headline figures of a download."""
    files, size, began, ended = database.one(
        f"SELECT COUNT(*), SUM(size), MIN(began), MAX(ended) FROM files WHERE {_WHOLE}"
    )
    failures = database.one("SELECT COUNT(*) FROM failures")[0] if database.columns("failures") else 0
    about = database.all("SELECT value FROM about WHERE name = 'finished'") if database.columns("about") else []
    finished = about in ([], [("yes",)])
    ends = [f"to {moment(ended)}"] if moment(began) != moment(ended) else []
    ends += [] if finished else ["the last run was cut"]
    return [
        Tile(title="Files", value=count(files), detail="complete under their names"),
        Tile(
            title="Bytes", value=amounts.size(size or 0), detail=f"mean {amounts.size(size / files)}" if files else ""
        ),
        Tile(title="Fetched", value=moment(began), detail=", ".join(ends) or "in one day"),
        Tile(title="Failed", value=count(failures), detail="to be fetched again" if failures else "nothing is missing"),
    ]


def download_section(database: Database, output: str) -> Section:
    """Return the section of a download."""
    runs = _runs(database)
    timed = [*_courses(runs), UNKNOWN] if runs else [Absent("Throughput", "no file of the ledger has times."), UNKNOWN]
    parts = [*timed, _sizes(database), _slowest(database), *_failures(database, output)]
    return Section("download", "Download", parts)


def _runs(database: Database) -> list[Activity]:
    """Return what was going on in the newest runs: between two of them there was a pause without any file."""
    spans: deque[tuple[float, float]] = deque(maxlen=MOST_RUNS)
    query = f"SELECT began, ended, size FROM files WHERE {_TIMED} ORDER BY began"
    for began, ended, _ in database.rows(query):
        if spans and began - spans[-1][1] < PAUSE:
            spans[-1] = spans[-1][0], max(spans[-1][1], ended)
        else:
            spans.append((began, ended))
    runs = [Activity(*span) for span in spans]
    waiting = iter(runs)
    run = next(waiting, None)
    for began, ended, size in database.rows(query):
        while run is not None and began > run.ended:
            run = next(waiting, None)
        if run is not None and began >= run.began:
            run.add(began, ended, size)
    return runs[::-1]


def _courses(runs: Sequence[Activity]) -> Iterator[Part]:
    titles = [
        f"{moment(run.began, exact=True)} UTC: {counted(run.files, 'file')}, {amounts.size(run.size)} in "
        f"{duration(run.ended - run.began)}"
        for run in runs
    ]
    notes = ["Older runs, before the newest six, are not shown."] if len(runs) == MOST_RUNS else []
    for name, title, unit, text, lead, values in (
        (
            "throughput",
            "Throughput",
            "bytes/s",
            amounts.size,
            "Bytes a second, each file's spread over its time.",
            [run.bytes_a_second() for run in runs],
        ),
        (
            "file-rate",
            "Files a second",
            "files/s",
            "{:,.1f}".format,
            "Files completed a second.",
            [run.files_a_second() for run in runs],
        ),
        (
            "in-flight",
            "Files in flight",
            "files",
            "{:,.1f}".format,
            "The mean number of files on their way at a time.",
            [run.in_flight() for run in runs],
        ),
    ):
        rows: list[Sequence[Cell]] = [
            (title_of_run, duration(place * run.width), text(value))
            for title_of_run, run, course in zip(titles, runs, values, strict=True)
            for place, value in enumerate(course)
        ]
        yield Plot(
            id=name,
            kind="lines",
            title=title,
            lead=lead,
            label=f"{title} over time, {counted(len(runs), 'run')} to choose from; the newest had {titles[0]}",
            data={"unit": unit, "what": "Run", "since": True, "choices": _choices(runs, titles, values, title)},
            grid=Grid(["Run", "After", title], rows),
            notes=notes,
            is_wide=name == "throughput",
        )


def _choices(
    runs: Sequence[Activity], titles: Sequence[str], values: Sequence[Sequence[float]], name: str
) -> list[dict[str, Any]]:
    return [
        {
            "name": title,
            "start": run.began,
            "step": run.width,
            "number": run.number,
            "lines": [{"name": name, "values": [round(value, 2) for value in course]}],
        }
        for run, title, course in zip(runs, titles, values, strict=True)
    ]


def _sizes(database: Database) -> Part:
    counts: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for (size,) in database.rows(f"SELECT size FROM files WHERE {_WHOLE}"):
        place = int(size).bit_length()
        counts[place] += 1
        sizes[place] += size
    if not counts:
        return Absent("Sizes of files", "no file is complete.")
    places = range(min(counts), max(counts) + 1)
    edges = [_size_text(place) for place in range(places.start, places.stop + 1)]
    ranges = [f"{low} to {high}" for low, high in pairwise(edges)]
    rows: list[Sequence[Cell]] = [
        (text, count(counts[place]), amounts.size(sizes[place])) for text, place in zip(ranges, places, strict=True)
    ]
    return Plot(
        id="sizes",
        kind="histogram",
        title="Sizes of files",
        lead="Each column is twice as large as the one before.",
        label=f"Distribution of the sizes of {sum(counts.values()):,} files",
        data={
            "unit": "files",
            "what": "Count",
            "edges": edges,
            "ranges": ranges,
            "choices": [
                {"name": "Files", "unit": "files", "values": [counts[place] for place in places]},
                {"name": "Bytes", "unit": "bytes", "values": [sizes[place] for place in places]},
            ],
        },
        grid=Grid(["Size", "Files", "Bytes in all"], rows),
    )


def _size_text(place: int) -> str:
    number = 1 << (place - 1) if place else 0
    return amounts.size(number).replace(".0 ", " ")


def _slowest(database: Database) -> Part:
    found = database.all(
        f"""SELECT target, ended - began, size FROM files WHERE {_TIMED}
            ORDER BY ended - began DESC, target LIMIT {MOST_BARS}"""
    )
    if not found:
        return Absent("Slowest files", "no file of the ledger has times.")
    rows: list[Sequence[Cell]] = [
        (shown(target), duration(took), amounts.size(size), f"{amounts.size(size / took)}/s" if took else NOTHING)
        for target, took, size in found
    ]
    return Plot(
        id="slowest-files",
        kind="bars",
        title="Slowest files",
        lead="From the first request to the last byte, repetitions included.",
        label=f"The slowest files, first {rows[0][0]} with {rows[0][1]}",
        data={
            "unit": "seconds",
            "value": "took",
            "bars": [
                {
                    "name": row[0],
                    "value": round(took, 3),
                    "text": f"{row[1]} · {row[2]}",
                    "more": [["size", row[2]], ["speed", row[3]]],
                }
                for row, (_, took, _) in zip(rows, found, strict=True)
            ],
        },
        grid=Grid(["File", "Took", "Size", "Speed"], rows),
    )


def _failures(database: Database, where: str) -> list[Part]:
    if not database.has("failures"):
        return [Absent("Failures", "nothing failed that was not had later.")]
    (total,) = database.one("SELECT COUNT(*) FROM failures")
    by_code = database.all(
        f"""SELECT code, COUNT(*), MAX(reason), MAX(ended) FROM failures GROUP BY code ORDER BY 2 DESC, 1
            LIMIT {MOST_CODES}"""
    )
    codes: list[Sequence[Cell]] = [
        (shown(code), count(number), shown(reason), moment(ended, exact=True))
        for code, number, reason, ended in by_code
    ]
    newest: list[Sequence[Cell]] = [
        (
            Link(shown(target or path, f"the listing of job {job}"), web_address(address)),
            shown(slug),
            NOTHING if job is None else str(job),
            shown(code),
            shown(reason),
        )
        for target, path, address, slug, job, code, reason in database.all(
            f"""SELECT target, path, address, slug, job, code, reason FROM failures ORDER BY ended DESC, id DESC
                LIMIT {MOST_FAILURES}"""
        )
    ]
    notes = [f"Shown are the newest {MOST_FAILURES} of {total:,}."] if total > MOST_FAILURES else []
    where = shlex.quote(f"./{where}" if where.startswith("-") else where)
    return [
        Listing(
            id="failures-by-code",
            title="Failures by code",
            lead=f"{counted(total, 'item')} could not be had. This fetches them again, and nothing else:",
            command=f"aiocircle retry {where}",
            grid=Grid(["Code", "Number", "Why, for example", "Last (UTC)"], codes, range(1, 2)),
        ),
        Listing(
            id="newest-failures",
            title="Failures one by one",
            lead="The newest first.",
            grid=Grid(["File", "Project", "Job", "Code", "Why"], newest, range(0)),
            notes=notes,
        ),
    ]
