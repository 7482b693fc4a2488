"""Pieces that an upload left in an S3 bucket: the next run finds and removes them.

S3 keeps the pieces of an upload that nobody ends, invisible and paid for. An upload that fails ends itself
(`aiocircle.download.objects`); a process that was killed cannot, nor can one whose network is gone. So a note with the
key lies in the run's state directory while an upload is under way. A later run, which holds that directory's lock, asks
the bucket for uploads of this key, and ends those that began when the note was written. S3 refuses a client whose
clock is wrong by more than 15 minutes, so that is how far the two moments can be apart; an upload that began at another
time is somebody else's, and is left alone.

obstore has no call for either request, but it signs addresses, with whatever credentials it finds: of the environment,
or of the machine's role. It signs paths only, in which the ``?`` of a query would be quoted. So the query stands in the
endpoint of a store made for the purpose, and the path behind it becomes the value of ``x-id``, in which AWS's own
clients tell the operation's name, and which no server reads. That the address came out so is checked before it is used:
without its ``uploadId``, the request to end an upload would be one to delete an object.

Who must not list uploads or end them is not bothered with it. Then, and where no later run comes, a rule of the
bucket's life cycle (``AbortIncompleteMultipartUpload``) does the same. Azure drops such pieces after a week by itself;
Google's buckets need the rule.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener
from xml.etree import ElementTree as ET

from attrs import frozen

NOTES = "uploads"
SKEW_SECONDS = 15 * 60.0
TIMEOUT_SECONDS = 20.0
MOST_OF_AN_ANSWER = 4 * 1024 * 1024  # bytes; a page has a thousand uploads at most
SIGNED_FOR = timedelta(minutes=5)


class _NoRedirects(HTTPRedirectHandler):
    """A signed address is for the bucket alone, so nobody is followed."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Return ``None``, which makes an error of it."""


@frozen
class Leftovers:
    """Notes of the uploads to one bucket that are under way, or were when a process ended.

    Args:
        bucket: Its name.
        prefix: What its keys begin with; empty or without slashes at its ends.
        own: The run's state directory.
        settings: Of obstore's client.
    """

    bucket: str
    prefix: str
    own: Path
    settings: Any

    @contextmanager
    def noted(self, target: str) -> Iterator[None]:
        """Keep a note of an upload while it is under way, and for a later run if it fails.

        Raises:
            OSError: The local disk refused.
        """
        note = self.own / NOTES / secrets.token_hex(8)
        note.parent.mkdir(exist_ok=True)
        note.write_text(json.dumps({"bucket": self.bucket, "key": "/".join(filter(None, (self.prefix, target)))}))
        yield
        note.unlink(missing_ok=True)

    def clear(self) -> None:
        """End the uploads that earlier runs left; what the bucket refuses is left for the next time."""
        with suppress(OSError, HTTPException):
            for note in list((self.own / NOTES).iterdir()):
                with suppress(ValueError, ET.ParseError):
                    key = self._key_in(note)
                    if key:
                        self._end_all(key, note.stat().st_mtime)
                    if key is not None:
                        note.unlink(missing_ok=True)

    def _key_in(self, note: Path) -> str | None:
        """Return the key of a note; ``None`` if it is of another bucket, nothing if a kill cut the note itself."""
        try:
            said = json.loads(note.read_text())
            return str(said["key"]) if said["bucket"] == self.bucket else None
        except (ValueError, KeyError, TypeError):
            return ""

    def _end_all(self, key: str, began: float) -> None:
        listed = self._ask("GET", "", f"uploads&prefix={quote(key, safe='')}")
        for one in ET.fromstring(listed).iterfind("{*}Upload"):  # noqa: S314 -- of the user's own bucket, and short
            found, number, moment = (one.findtext(f"{{*}}{name}") or "" for name in ("Key", "UploadId", "Initiated"))
            if found == key and number and abs(datetime.fromisoformat(moment).timestamp() - began) <= SKEW_SECONDS:
                self._ask("DELETE", key, f"uploadId={quote(number, safe='')}")

    def _ask(self, method: Literal["GET", "DELETE"], key: str, query: str) -> bytes:
        """Send one request, about an object or about the bucket, and return the answer's body.

        Raises:
            OSError: It was refused, or there is no answer.
            ValueError: There is no address for it.
        """
        request = Request(self._signed(method, key, query), method=method)  # noqa: S310 -- its scheme is checked there
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(MOST_OF_AN_ANSWER)
            return body

    def _signed(self, method: Literal["GET", "DELETE"], key: str, query: str) -> str:
        import obstore  # noqa: PLC0415 -- an extra
        from obstore.store import S3Store  # noqa: PLC0415

        plain = obstore.sign(S3Store(self.bucket, client_options=self.settings), method, key, SIGNED_FOR)
        endpoint = f"{plain.partition('?')[0]}?{query}&x-id="
        # This name of the setting is the one that no variable of the environment overrules.
        store = S3Store(
            self.bucket,
            aws_endpoint_url_s3=endpoint,
            virtual_hosted_style_request=True,  # so that no name of a bucket is appended
            client_options=self.settings,
        )
        signed = obstore.sign(store, method, "", SIGNED_FOR)
        if not endpoint.startswith(("https://", "http://")) or not signed.startswith(f"{endpoint}/&X-Amz-"):
            raise ValueError("obstore did not sign what it was meant to")
        return signed
