"""No Google, but what its XML interface and S3's have in common: SeaweedFS behind a front that renames headers.

Google's XML interface takes the requests of S3 that obstore sends it, multipart uploads among them, with other names of
headers (``x-goog-meta-``) and with a bearer's token in the place of a signature. The front changes the one and asks for
the other; all else is obstore's own Google client, and a real server of objects. What that says of Google itself: that
the requests are made and read as Google documents them, and nothing of its roles, its errors or its limits.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from faulty_bucket import Handler, Refusal, faulty_way

from benchmarks.seaweed import Server

TOKEN = "google-token-of-tests"
THEIRS, OURS = "x-goog-meta-", "x-amz-meta-"
REFUSED = Refusal(401, b"<Error><Code>AuthenticationRequired</Code><Message>Anonymous caller</Message></Error>")


class GoogleLike(Handler):
    """Asks for the token and renames headers."""

    def pass_on(self, body: bytes) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send_response(REFUSED.status)
            self.finish_with([], REFUSED.body)
        else:
            super().pass_on(body)

    def headers_onward(self) -> list[tuple[str, str]]:
        named = [(name.lower(), value) for name, value in super().headers_onward()]
        return [(name.replace(THEIRS, OURS), value) for name, value in named if name != "authorization"]

    def headers_back(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name.lower().replace(OURS, THEIRS), value) for name, value in headers]


@contextmanager
def google_like(server: Server) -> Iterator[Server]:
    """Give the same bucket under ``gs://``."""
    with faulty_way(server.environ["AWS_ENDPOINT_URL"], GoogleLike) as way:
        environ = {"GOOGLE_BASE_URL": way.url, "GOOGLE_BEARER_TOKEN": TOKEN, "GOOGLE_ALLOW_HTTP": "true"}
        yield Server(server.address.replace("s3://", "gs://"), environ, server.url)
