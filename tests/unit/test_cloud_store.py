"""Objects appear whole or not at all, uploads that fail leave nothing, and no refusal repeats a secret."""

import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import unescape

import obstore
import pytest
from faulty_bucket import SLOW_DOWN, Refusal, faulty_way
from google_like import TOKEN, google_like
from object_servers import AZURITE, SECRET, Server, azure_server

from aiocircle.download import objects
from aiocircle.download.cloud_store import CloudStore
from aiocircle.download.leftovers import Leftovers
from aiocircle.download.objects import PIECE
from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath, safe_path
from aiocircle.errors import ConfigurationError, StoreError

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not AZURITE:
        pytest.skip("NO TEST AGAINST AZURE: it needs Azurite, which scripts/test installs")
    with azure_server(tmp_path_factory.mktemp("azure")) as server:
        yield server


@pytest.fixture
def google(s3: Server) -> Iterator[Server]:
    with google_like(s3) as server:
        yield server


@pytest.fixture(params=["s3", "azure", "google"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    server: Server = request.getfixturevalue(request.param)
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def only_s3(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    return s3


def path(text: str) -> SafePath:
    return SafePath(tuple(text.split("/")))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def filled(store: CloudStore, data: bytes) -> Part:
    part = Part()
    store.begin(part)
    for start in range(0, len(data), MIB):
        store.append(part, path("any"), [data[start : start + MIB]])
    return part


def test_small_and_large_files_are_objects_with_their_digest_and_nothing_stays_on_the_disk(
    server: Server, tmp_path: Path
) -> None:
    large = os.urandom(2 * PIECE + 12345)
    with CloudStore(f"{server.address}/{tmp_path.name}", tmp_path) as store:
        assert store.size_of(path("0/a.txt")) is None
        store.publish(store.stage(path("0/a.txt"), [b"one ", b"two"], sha256(b"one two")))
        store.publish(store.stage(path("0/empty"), [], sha256(b"")))
        announced: list[int] = []
        store.commit(filled(store, large), path("0/large"), len(large), announced.append)
        assert announced == [0]
        sizes = [store.size_of(path(f"0/{name}")) for name in ("a.txt", "empty", "large", "none")]
        assert sizes == [7, 0, len(large), None]
        assert store.is_named("0/large", len(large), 0, sha256(large))
        assert not store.is_named("0/large", len(large), 0, sha256(b"other"))
        assert not store.is_named("0/none", 7, 0, sha256(b"one two"))
    assert list((tmp_path / "parts").iterdir()) == []
    with CloudStore(f"{server.address}/{tmp_path.name}", tmp_path) as store:
        assert store.size_of(path("0/large")) == len(large)


@pytest.mark.parametrize(
    "name",
    ["ü é.txt", "a%2Fb%zz", "a#b?c&d=e", "plus+and space ", "日本/語", "..x/.y", "*~[]{}^`|<>\"'", "new\nline\t"],
)
def test_odd_names_are_keys_as_they_are(only_s3: Server, tmp_path: Path, name: str) -> None:
    placed = safe_path(name).path
    prefix = f"{tmp_path.name}"
    with CloudStore(f"{only_s3.address}/{prefix}", tmp_path) as store:
        store.publish(store.stage(placed, [name.encode()], "00"))
        assert store.size_of(placed) == len(name.encode())
    assert only_s3.read(f"some prefix/{prefix}/{placed}") == name.encode()


def test_an_upload_that_is_abandoned_or_cut_leaves_neither_object_nor_pieces(only_s3: Server, tmp_path: Path) -> None:
    data = os.urandom(6 * PIECE)
    seen: list[list[str]] = []
    with CloudStore(only_s3.address, tmp_path) as store:
        part = filled(store, data)

        def abandon() -> None:
            end = time.monotonic() + 20
            while not (uploads := only_s3.uploads("cut")) and time.monotonic() < end:
                time.sleep(0.001)
            seen.append(uploads)
            part.abandoned = True

        watcher = threading.Thread(target=abandon)
        watcher.start()
        with pytest.raises(StoreError, match="abandoned"):
            commit_slowly(store, part, len(data))
        watcher.join()
        store.keep(part)
        assert (seen, only_s3.uploads("cut")) == ([["some prefix/cut"]], [])
        assert store.size_of(path("cut")) is None

        cut = filled(store, data)
        os.truncate(tmp_path / "parts" / cut.name, len(data) - 1)
        with pytest.raises(StoreError, match="did not take all bytes"):
            store.commit(cut, path("cut"), len(data))
        store.discard(cut)
    assert only_s3.sizes("cut") == {}
    assert only_s3.uploads("cut") == []


def commit_slowly(store: CloudStore, part: Part, size: int) -> None:
    """Commit a part that is read slowly, so that there is a middle to abandon it in."""
    from aiocircle.download import cloud_store

    class Slow(cloud_store._Source):
        def read(self, size: int = -1, /) -> bytes:
            if self.tell():
                end = time.monotonic() + 20
                while not self._part.abandoned and time.monotonic() < end:
                    time.sleep(0.001)
            return super().read(size)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cloud_store, "_Source", Slow)
        store.commit(part, path("cut"), size)


KILLED = """
import os, sys
from pathlib import Path
from aiocircle.download import cloud_store
from aiocircle.download.parts import Part
from aiocircle.download.paths import SafePath

class Killer(cloud_store._Source):
    def read(self, size=-1, /):
        if self.tell() > 0:
            os.kill(os.getpid(), 9)
        return super().read(size)

cloud_store._Source = Killer
with cloud_store.CloudStore(sys.argv[1], Path(sys.argv[2])) as store:
    part = Part()
    target = SafePath(tuple(sys.argv[3].split("/")))
    store.begin(part)
    store.append(part, target, [b"x" * 15_000_000])
    store.commit(part, target, 15_000_000)
"""


def kill_an_upload(address: str, state: Path, name: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, address, state, name], check=False)
    assert done.returncode == -9


def test_a_kill_in_the_middle_of_an_upload_shows_nothing(only_s3: Server, tmp_path: Path) -> None:
    kill_an_upload(only_s3.address, tmp_path, "killed")
    assert only_s3.sizes("killed") == {}
    with CloudStore(only_s3.address, tmp_path) as store:
        assert store.size_of(path("killed")) is None


@pytest.mark.parametrize("name", ["0/large.bin", "ü é/a%2F+&?=#.bin"])
def test_the_next_run_removes_the_pieces_that_a_kill_left_and_no_others(
    only_s3: Server, tmp_path: Path, name: str
) -> None:
    prefix = tmp_path.name
    address, mine, other = f"{only_s3.address}/{prefix}", tmp_path / "mine", tmp_path / "other"
    kill_an_upload(address, mine, name)
    assert [unescape(key) for key in only_s3.uploads(prefix)] == [f"some prefix/{prefix}/{name}"]
    kill_an_upload(address, other, f"{name}x")
    with CloudStore(address, mine):
        assert [unescape(key) for key in only_s3.uploads(prefix)] == [f"some prefix/{prefix}/{name}x"]
        assert list((mine / "uploads").iterdir()) == []

    (note,) = (other / "uploads").iterdir()
    os.utime(note, (0, 0))  # the upload is another one's then, of the same key
    with CloudStore(address, other):
        assert [unescape(key) for key in only_s3.uploads(prefix)] == [f"some prefix/{prefix}/{name}x"]


def test_notes_that_were_cut_or_are_about_another_bucket_harm_nobody(only_s3: Server, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    for number, said in enumerate(["", "{", "[1]", '{"key": "x"}', '{"bucket": "another", "key": "x"}']):
        (tmp_path / f"uploads/{number}").write_text(said)
    with CloudStore(only_s3.address, tmp_path):
        assert [note.name for note in (tmp_path / "uploads").iterdir()] == ["4"]


def test_uploads_that_are_complete_leave_no_note(only_s3: Server, tmp_path: Path) -> None:
    with CloudStore(f"{only_s3.address}/{tmp_path.name}", tmp_path) as store:
        store.commit(filled(store, bytes(2 * PIECE)), path("x"), 2 * PIECE)
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize("own", ["AWS_ENDPOINT_URL_S3", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_SESSION_TOKEN"])
def test_what_ends_an_upload_is_signed_as_meant_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    """Without its query the request would delete an object."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv(own, {"AWS_ENDPOINT_URL_S3": "https://host.test:8333/"}.get(own, "true"))
    leftovers = Leftovers("bucket", "p", tmp_path, {})
    url = urlsplit(leftovers._signed("DELETE", "p/ü?x", "uploadId=7%2F7"))
    query = dict(parse_qsl(url.query))
    assert (query["uploadId"], query["x-id"]) == ("7/7", "/")
    assert url.path.endswith("/p/%C3%BC%3Fx")
    assert url.hostname == {
        "AWS_ENDPOINT_URL_S3": "host.test",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "bucket.s3.us-east-1.amazonaws.com",
    }.get(own, "s3.us-east-1.amazonaws.com")
    assert SECRET not in url.geturl()

    monkeypatch.setattr(obstore, "sign", lambda *_: "https://host.test/p/x?X-Amz-Signature=1")
    with pytest.raises(ValueError, match="did not sign"):
        leftovers._signed("DELETE", "p/x", "uploadId=7")


@pytest.mark.parametrize(
    ("changed", "words", "hint"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another-secret"}, "s3 answered 403 SignatureDoesNotMatch", "AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "s3 answered 403 InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            "s3 does not answer",
            "is the network there, and AWS_ENDPOINT_URL",
        ),
        ({"AWS_ENDPOINT_URL": "ftp://127.0.0.1:1"}, "endpoint cannot be used", "AWS_ENDPOINT_URL begins with https"),
        ({"AWS_ALLOW_HTTP": "false"}, "endpoint cannot be used", "AWS_ALLOW_HTTP=true"),
    ],
)
def test_a_refusal_is_one_fatal_sentence_without_a_secret(
    only_s3: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    words: str,
    hint: str,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "SHORT", {**objects.SHORT, "max_retries": 1})
    with pytest.raises(StoreError, match=words) as caught:
        CloudStore(only_s3.address, tmp_path).__enter__()
    said = f"{caught.value} {caught.value.hint} {caught.value.__cause__} {caught.value!r}"
    assert caught.value.fatal
    assert hint in said
    assert SECRET not in said
    assert "another-secret" not in said


@pytest.mark.parametrize(
    ("answer", "words", "hint"),
    [
        (Refusal(301, b"<Error><Code>PermanentRedirect</Code></Error>"), "is in another region", "set AWS_REGION to"),
        (
            Refusal(400, b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"),
            "s3 answered 400 AuthorizationHeaderMalformed",
            "set AWS_REGION=eu-west-1",
        ),
        (Refusal(503, SLOW_DOWN), "s3 answered 503 SlowDown", "run the same command again"),
    ],
)
def test_a_bucket_elsewhere_or_too_busy_at_the_start_says_what_to_do(
    only_s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Refusal, words: str, hint: str
) -> None:
    monkeypatch.setattr(objects, "SHORT", {**objects.SHORT, "max_retries": 1})
    with faulty_way(only_s3.environ["AWS_ENDPOINT_URL"]) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.url)
        way.rule = lambda _method, _path: answer
        with pytest.raises(StoreError, match=words) as caught:
            CloudStore(only_s3.address, tmp_path).__enter__()
    assert hint in (caught.value.hint or "")


def test_without_credentials_and_without_a_role_that_is_what_is_said(
    only_s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with faulty_way(only_s3.environ["AWS_ENDPOINT_URL"]) as machine:
        machine.rule = lambda _method, _path: Refusal(404)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", machine.url)
        with pytest.raises(StoreError, match="s3: no credentials in the environment, and no role") as caught:
            CloudStore(only_s3.address, tmp_path).__enter__()
    assert caught.value.fatal
    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


def test_a_part_that_the_disk_cannot_give_back_is_the_disks_fault_and_not_the_buckets(
    only_s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with CloudStore(f"{only_s3.address}/{tmp_path.name}", tmp_path) as store:
        part = filled(store, bytes(2 * PIECE))
        with monkeypatch.context() as patched:
            patched.setattr(os, "read", refused)
            with pytest.raises(StoreError, match="broken: input/output error") as caught:
                store.commit(part, path("broken"), 2 * PIECE)
        store.discard(part)
    assert caught.value.fatal
    assert only_s3.uploads(f"{tmp_path.name}/") == []


def test_a_bucket_that_is_not_there_is_named(only_s3: Server, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="s3://no-such-bucket/x: s3 answered 404 NoSuchBucket") as caught:
        CloudStore("s3://no-such-bucket/x", tmp_path).__enter__()
    assert caught.value.fatal


def test_a_refusal_of_googles_is_one_fatal_sentence_without_the_token(
    google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**google.environ, "GOOGLE_BEARER_TOKEN": f"{TOKEN}-of-another"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="gs answered 401 AuthenticationRequired") as caught:
        CloudStore(google.address, tmp_path).__enter__()
    assert caught.value.fatal
    assert "GOOGLE_APPLICATION_CREDENTIALS" in (caught.value.hint or "")
    assert TOKEN not in f"{caught.value} {caught.value.hint} {caught.value!r}"


def test_two_runs_do_not_share_a_state_directory(only_s3: Server, tmp_path: Path) -> None:
    with (
        CloudStore(only_s3.address, tmp_path),
        pytest.raises(StoreError, match="another run is downloading to s3://"),
    ):
        CloudStore(only_s3.address, tmp_path).__enter__()


def test_without_obstore_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigurationError, match="needs the package obstore") as caught:
        CloudStore("s3://b/p", tmp_path)
    assert caught.value.hint == "pip install 'aiocircle[cloud]'"


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "ftp://b/x"])
def test_what_names_no_bucket_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match="names no bucket"):
        CloudStore(address, tmp_path)
