"""What tests of a session's secrets share."""

import pickle
import traceback

from raw_host import Opened

from aiocircle.testing import FakeArtifact, World

SLUG = "gh/acme/web"
BODY = b"the very bytes"
SIGNATURE = "5ca1ab1e0123456789abcdef"


def world() -> World:
    world = World(pipelines=0)
    world.add_job(SLUG, 7, [FakeArtifact("a/ü b+c.txt", body=BODY), FakeArtifact("plain.txt", 1, body=BODY)])
    return world


async def address_in(seen: Opened) -> str:
    artifact = await seen.client.artifacts.list(SLUG, 7).first()
    assert artifact is not None
    assert artifact.url is not None
    return artifact.url


def traces_of(*things: object) -> str:
    """Return everything that a log, a traceback, a debugger or a crash report would show of these."""
    shown, seen, todo = [], set(), list(things)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or thing is None:
            continue
        seen.add(id(thing))
        shown += [str(thing), repr(thing)]
        if isinstance(thing, BaseException):
            shown += traceback.format_exception(thing)
            shown.append(pickle.dumps(thing).decode("latin-1"))
            todo += [thing.__cause__, thing.__context__, *thing.args, *vars(thing).values()]
    return "\n".join(shown)
