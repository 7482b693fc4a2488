"""What it costs to turn a page of 20 pipelines into models, beside the ``json.loads`` that it cannot do without."""

import json
import timeit
from statistics import median

from aiocircle.api import Pipeline
from aiocircle.codec import decode

ROUNDS, CALLS = 15, 200
ITEMS = 20
LIMIT = 1.0  # milliseconds


def _page() -> bytes:
    return json.dumps({"items": [_pipeline(number) for number in range(ITEMS)], "next_page_token": "t"}).encode()


def _pipeline(number: int) -> dict[str, object]:
    return {
        "id": f"03fcbba0-d847-4c8b-a553-{number:012}",
        "errors": [{"type": "config", "message": "a line that could not be read"}] if number % 5 == 0 else [],
        "project_slug": "gh/acme/web",
        "updated_at": "2026-11-23T08:00:00.517Z",
        "number": number,
        "state": "created",
        "created_at": "2026-11-23T08:00:00.489Z",
        "trigger_parameters": {"webhook": {"body": "{}"}, "git": {"branch": "main", "commit": {"sha": "ca67134f"}}},
        "trigger": {
            "type": "webhook",
            "received_at": "2026-11-23T08:00:00.400Z",
            "actor": {"login": "octo", "avatar_url": "https://avatars.example/u/1"},
        },
        "vcs": {
            "provider_name": "GitHub",
            "origin_repository_url": "https://github.com/acme/web",
            "target_repository_url": "https://github.com/acme/web",
            "revision": "ca67134f650e362133e51a9ffdb8e5ddc7fa53a5",
            "branch": "main",
            "commit": {"subject": "a change", "body": "and why"},
        },
    }


def main() -> None:
    text = _page()
    loads = timeit.repeat(lambda: json.loads(text), number=CALLS, repeat=ROUNDS)
    both = timeit.repeat(
        lambda: decode(list[Pipeline], json.loads(text)["items"], what="list pipelines"), number=CALLS, repeat=ROUNDS
    )
    bare, whole = (median(seconds) / CALLS * 1000 for seconds in (loads, both))
    print(f"json.loads of {ITEMS} pipelines ({len(text)} bytes)  {bare:6.3f} ms")
    print(f"with models                              {whole:6.3f} ms   x {whole / bare:.1f}")
    print(f"models alone                             {whole - bare:6.3f} ms   (limit {LIMIT:g} ms)")
    if whole - bare > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
