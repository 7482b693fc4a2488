"""A part of the table of `benchmarks.faults`: under every store nothing is wrong, and the next run completes it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from object_servers import Server

from aiocircle.testing import FAULTS
from benchmarks.fault_run import run
from benchmarks.fault_stores import Directory, Stores

pytestmark = pytest.mark.anyio


# What becomes of the struck file where the fault strikes one request, whether the rest of it was asked for, and what
# becomes of it where all are struck.
TABLE = {
    "cut-body": ("right bytes", True, "failed: interrupted"),
    "wrong-digest": ("failed: integrity", False, "failed: integrity"),
    "expired-404": ("skipped: not_found", False, "skipped: not_found"),
    "json-cut": ("run ends: decode", False, "run ends: decode"),
}


@pytest.fixture
def stores(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    if request.param != "s3":
        return Stores(tmp_path, None)
    server: Server = request.getfixturevalue("s3")
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return Stores(tmp_path, server)


@pytest.mark.parametrize(("stores", "kind"), [(kind, kind) for kind in ("dedupe", "tar", "s3")], indirect=["stores"])
async def test_faults_end_alike_under_every_store(stores: Stores, kind: str) -> None:
    for fault, (outcome, resumed, lasting) in TABLE.items():
        once = await run(FAULTS[fault], stores.make(kind), times=1)
        assert (once.outcome, once.resumed, once.wrong) == (outcome, resumed, ""), fault
        always = await run(FAULTS[fault], stores.make(kind), times=None)
        assert (always.outcome, always.wrong) == (lasting, ""), fault


@frozen
class Spoiled(Directory):
    """A directory in which one file is wrong, one is gone and one should not be there."""

    def files(self) -> dict[str, bytes] | None:
        found = super().files() or {}
        return {name: data + b"!" * name.endswith("/2.bin") for name, data in found.items() if "3.bin" not in name}

    def faults(self) -> Iterator[str]:
        yield "PART LEFT"


async def test_the_judge_sees_what_is_wrong_missing_or_left_behind(tmp_path: Path) -> None:
    """Or a table without a wrong file would say nothing."""
    result = await run(FAULTS["unknown-fields"], Spoiled(str(tmp_path)), times=1)
    for said in result.wrong.split("after the next run"):
        assert "WRONG BYTES in others/2.bin" in said
        assert "others/3.bin is MISSING" in said
        assert "PART LEFT" in said
