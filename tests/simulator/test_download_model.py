"""Whatever is done in whatever order, with whatever mishaps: a last plain run leaves what was promised.

A sequence of commands works on one output while the world changes; see `changing_world`. What must hold after each of
them is looked up on the disk and in the ledger, with readers of their own.
"""

import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import attrs
import pytest
from anyio.streams.text import TextReceiveStream
from changing_world import SLUG, Changing, Identity, Wanted
from downloads import tree

from aiocircle.testing import DEFAULT_TOKEN, Simulator

pytestmark = pytest.mark.anyio

FIRST = int(os.environ.get("MODEL_FIRST", "0"))
SEQUENCES = int(os.environ.get("MODEL_SEQUENCES", "6"))
ALL = Wanted({"all": True, "all_reruns": True}, {})
MISHAPS = [
    ("500", "api", r"/artifacts$"),
    ("500", "api", r"/job$"),
    ("500", "api", r"/workflow$"),
    ("500", "api", r"/pipeline$"),
    ("cut-body", "storage", "large"),
    ("cut-body", "storage", "xml"),
    ("forbidden-403", "artifact", "/d/"),
]


@attrs.define
class Row:
    identity: Identity
    size: int
    sha256: str


@attrs.define
class Sequence:
    """One output, and what has been done to it."""

    out: Path
    model: Changing
    process: anyio.abc.Process
    replies: AsyncIterator[str]
    ports: tuple[int, int] = (0, 0)
    done: list[str] = attrs.field(factory=list)
    wanted: list[Wanted] = attrs.field(factory=list)
    plan: tuple[Wanted, set[Identity]] | None = None
    may: set[Identity] = attrs.field(factory=set)  # been wanted by some run: retry goes back to older ones
    rows: dict[str, Row] = attrs.field(factory=dict)
    owed: tuple[Wanted, set[Identity]] | None = None

    async def command(self, sim: Simulator, *arguments: object, **more: Any) -> dict[str, Any]:
        environment = {"CIRCLE_TOKEN": DEFAULT_TOKEN, "CIRCLE_HOST": sim.url, "HOME": str(self.out.parent)}
        command = {"arguments": [*map(str, arguments)], "environment": environment, **more}
        self.done.append(f"{' '.join(command['arguments'])} {more.get('how', '')} {more.get('moment', '')}")
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps(command).encode() + b"\n")
        with anyio.fail_after(40):
            reply: dict[str, Any] = json.loads(await anext(self.replies))
        self.done[-1] += f" -> {reply['status']}"
        assert reply["status"] in {0, 2, 4, 5, 6, 9, -2, -9}, (reply, self.done)
        assert "internal error" not in reply["stderr"], reply
        assert "Traceback" not in reply["stderr"], reply
        return reply

    async def step(self, sim: Simulator) -> None:
        dice = self.model.dice
        for _ in range(dice.randrange(3) if dice.random() < 0.4 else 0):
            name, place, match = dice.choice(MISHAPS)
            sim.faults.add(name, times=dice.choice([None, 1]), match=match, place=place)  # type: ignore[arg-type]
        ending: dict[str, Any] = {}
        if dice.random() < 0.5:
            ending = {"how": dice.choice(["kill", "kill", "interrupt"]), "moment": dice.randint(20, 300)}
        kind = dice.choice(["download", "download", "download", "library", "retry", "plan", "from", "verify"])
        ledger = (self.out / ".aiocircle/ledger.sqlite").exists()
        if kind == "retry" and ledger:
            await self.retry(sim, ending)
        elif kind == "verify" and ledger:
            reply = await self.command(sim, "verify", self.out, **ending)
            assert "missing" not in reply["stdout"], (reply, self.done)
            assert "other than fetched" not in reply["stdout"], (reply, self.done)
        elif kind == "plan":
            await self.make_plan(sim, ending)
        elif kind == "from" and self.plan is not None:
            await self.carry_out(sim, ending)
        else:
            await self.download(sim, self.model.some_selection(), ending, by_library=kind == "library")

    async def download(self, sim: Simulator, wanted: Wanted, ending: dict[str, Any], *, by_library: bool) -> None:
        self.wanted.append(wanted)
        was_open = self.is_open()
        if by_library:
            ending = {"how": "cancel", "moment": self.model.dice.randint(20, 300)}
            ending |= {"selection": wanted.selection, "options": wanted.options, "out": str(self.out)}
        arguments = ["download", SLUG, *wanted.arguments(), "-o", self.out, "--retries", 0]
        reply = await self.command(sim, *arguments, **ending)
        # A run that is cut at once has not said yet what it is to fetch; the latest pipeline may be another one by now.
        is_known = reply["status"] in {0, 9} or (self.is_open() and not was_open and "latest" not in wanted.selection)
        self.owed = (wanted, self.model.expected(wanted)) if is_known else None

    async def retry(self, sim: Simulator, ending: dict[str, Any]) -> None:
        reply = await self.command(sim, "retry", self.out, "--retries", 0, **ending)
        if reply["status"] == 0 and not list(sim.faults):
            self.check_owed()

    def check_owed(self) -> None:
        """What the last run was to fetch is there now, if the host still has it."""
        rows = self.named()
        for identity in self.owed_now():
            assert self.owed is not None
            target = self.owed[0].target(identity)
            names = {name for name, row in rows.items() if row.identity == identity}
            assert target in names or (target is None and names), (identity, self.done)

    def owed_now(self) -> set[Identity]:
        return set() if self.owed is None else self.owed[1] & self.model.expected(self.owed[0])

    async def make_plan(self, sim: Simulator, ending: dict[str, Any]) -> None:
        wanted = self.model.some_selection()
        for name in ("layout", "shard", "max_size", "dedupe"):
            wanted.options.pop(name, None)
        file = self.out.parent / "plan.jsonl"
        before = file.stat().st_ino if file.exists() else 0
        await self.command(sim, "download", SLUG, *wanted.arguments(), "--plan", file, "--retries", 0, **ending)
        if file.exists() and file.stat().st_ino != before:  # what could not be listed is not in it
            self.plan = wanted, self.model.expected(wanted)

    async def carry_out(self, sim: Simulator, ending: dict[str, Any]) -> None:
        assert self.plan is not None
        self.wanted.append(self.plan[0])
        self.owed = None
        file = self.out.parent / "plan.jsonl"
        await self.command(sim, "download", "--from", file, "-o", self.out, "--retries", 0, **ending)

    def look(self) -> None:
        """Compare disk and ledger, and both with what there was to fetch."""
        files = tree(self.out) if self.out.exists() else {}
        before, self.rows = self.rows, self.named()
        assert files.keys() == self.rows.keys(), self.done
        self.may.update(*map(self.model.expected, self.wanted), self.plan[1] if self.plan else ())
        for target, row in self.rows.items():
            body = files[target]
            assert (row.size, row.sha256) == (len(body), sha256(body).hexdigest()), (target, self.done)
            versions = self.model.versions[row.identity]
            assert body in versions, (target, self.done)
            if before.get(target) != row:
                assert body == versions[-1], (target, self.done)
                assert row.identity in self.may, (target, self.done)
                names = {one.target(row.identity) for one in self.wanted}
                assert target in names or None in names, (target, self.done)

    def is_open(self) -> bool:
        """Whether a run has begun and has not come to its end."""
        address = f"{(self.out / '.aiocircle/ledger.sqlite').as_uri()}?mode=ro"
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as database:
            return ("no",) in database.execute("SELECT value FROM about WHERE name = 'finished'")
        return False

    def named(self) -> dict[str, Row]:
        """The rows of files that have their names."""
        ledger = self.out / ".aiocircle/ledger.sqlite"
        if not ledger.exists():
            return {}
        rows = {}
        with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone():
                return {}
            for target, job, node, path, size, digest, inode in database.execute(
                "SELECT target, job, node, path, size, sha256, inode FROM files"
            ):
                file = self.out / target
                if inode is None or (file.exists() and file.stat().st_ino == inode):
                    rows[target] = Row((job, node, path), size, digest)
        return rows

    async def end(self, sim: Simulator) -> None:
        """A last plain run; then nothing is left to be done."""
        wanted = self.model.dice.choice([ALL, self.model.some_selection()])
        expected = self.model.expected(wanted)
        self.wanted.append(wanted)
        reply = await self.command(sim, "download", SLUG, *wanted.arguments(), "-o", self.out, "--json")
        assert reply["status"] == 0, (reply, self.done)
        items = [item for line in reply["stdout"].splitlines() if (item := json.loads(line))["type"] == "item"]
        had = {
            (item["job_number"], item["node_index"], item["path"]): item["target"]
            for item in items
            if item["status"] in {"stored", "present"}
        }
        assert had.keys() == expected, self.done
        self.look()
        for identity, target in had.items():
            assert wanted.target(identity) in {target, None}, (target, self.done)
            assert self.rows[target].identity == identity, self.done
        left = [path.name for path in (self.out / ".aiocircle/parts").iterdir()]
        keys = {sha256(f"{SLUG}#{job}/{node}/{path}".encode()).hexdigest()[:32] for job, node, path in expected}
        assert not [name for name in left if name.partition("-")[0] in keys or "-" not in name], self.done
        reply = await self.command(sim, "retry", self.out)
        assert reply["status"] == 0 or (reply["status"], "expired" in reply["stdout"]) == (5, True), (reply, self.done)
        self.look()
        reply = await self.command(sim, "verify", self.out)
        assert reply["status"] == 0, (reply, self.done)
        assert f"{len(self.rows)} file" in reply["stdout"], (reply, self.done)
        assert "did not come to its end" not in reply["stderr"], self.done


@pytest.fixture
async def commands() -> AsyncIterator[tuple[anyio.abc.Process, AsyncIterator[str]]]:
    program = Path(__file__).with_name("forked_commands.py")
    async with await anyio.open_process([sys.executable, str(program)], stderr=None) as process:
        assert process.stdout is not None
        yield process, lines_of(process.stdout)
        process.kill()


async def lines_of(stream: anyio.abc.ByteReceiveStream) -> AsyncIterator[str]:
    rest = ""
    async for text in TextReceiveStream(stream):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line


@asynccontextmanager
async def served(sequence: Sequence) -> AsyncIterator[Simulator]:
    """Serve the world as it is now, at the same addresses as before."""
    api, storage = sequence.ports
    async with Simulator(sequence.model.world(), port=api, storage_port=storage) as sim:
        sequence.ports = int(sim.url.rpartition(":")[2]), int(sim.storage_url.rpartition(":")[2])
        yield sim


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEQUENCES))
async def test_a_last_plain_run_leaves_what_was_promised_and_nothing_else(
    tmp_path: Path, commands: tuple[anyio.abc.Process, AsyncIterator[str]], seed: int
) -> None:
    sequence = Sequence(tmp_path / "out", Changing(seed), *commands)
    for _ in range(sequence.model.dice.randint(2, 7)):
        async with served(sequence) as sim:
            await sequence.step(sim)
        sequence.look()
        for _ in range(sequence.model.dice.randrange(3)):
            sequence.model.change()
    sequence.model.add_file()
    async with served(sequence) as sim:
        await sequence.end(sim)
