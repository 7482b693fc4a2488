"""Which proxy an address is asked through."""

import pytest
from yarl import URL

from aiocircle.errors import ConfigurationError
from aiocircle.proxies import Proxies

FAR = URL("https://circleci.com/api/v2/me")
PASSWORD = "GEHEIM"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def way(url: str) -> str | None:
    proxy = Proxies.of_environment().on_the_way_to(URL(url))
    return None if proxy is None else str(proxy.address)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("text", ["http://proxy.corp:3128", "proxy.corp:3128", "http://proxy.corp:3128/"])
def test_each_scheme_has_its_own(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    assert way("https://circleci.com/") is None
    monkeypatch.setenv(name, text)
    assert way("https://circleci.com/") == "http://proxy.corp:3128"
    assert way("http://circleci.com/") is None


@pytest.mark.parametrize(
    ("exempt", "address", "direct"),
    [
        ("*", "https://circleci.com/", True),
        ("corp, *", "https://circleci.com/", True),
        ("circleci.com", "https://circleci.com/", True),
        ("circleci.com", "https://circle.example/", False),
        (".corp, other.example", "https://ci.corp/", True),
        ("corp", "https://ci.corp/", True),
        ("corp", "https://ci.notcorp/", False),
        ("ci.corp:8443", "https://ci.corp:8443/", True),
        ("ci.corp:8443", "https://ci.corp/", False),
        ("ci.corp:443", "https://ci.corp/", True),
        ("*.corp", "https://ci.corp/", True),
        ("*.corp", "https://ci.notcorp/", False),
        ("ci.corp.", "https://ci.corp/", True),
        ("ci.corp", "https://ci.corp./", True),
        ("one.corp other.corp", "https://other.corp/", True),
        ("bücher.example", "https://bücher.example/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.1.2.3/8", "https://10.9.9.9:8443/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://ci.corp/", False),
        ("10.0.0.0/8, fd00::/8", "https://[fd12::3]/", True),
        ("10.0.0.0/99, /, [, :, .", "https://10.1.2.3/", False),
        ("fd00::1", "https://[fd00::1]/", True),
        ("[fd00::1]", "https://[fd00::1]/", True),
        ("FD00:0::1", "https://[fd00::1]/", True),
        ("[fd00::1]:8443", "https://[fd00::1]:8443/", True),
        ("[fd00::1]:8443", "https://[fd00::1]/", False),
    ],
)
def test_some_hosts_are_asked_themselves(
    monkeypatch: pytest.MonkeyPatch, exempt: str, address: str, direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert (way(address) is None) == direct


@pytest.mark.parametrize("place", ["localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]:8443", "api.localhost"])
def test_this_machine_is_always_asked_itself(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    assert way(f"https://{place}/") is None


def test_user_and_password_go_into_a_header_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me%40corp:{PASSWORD}@proxy.corp:3128")
    proxies = Proxies.of_environment()
    proxy = proxies.on_the_way_to(FAR)
    assert proxy
    assert proxy.credentials == {"Proxy-Authorization": "Basic bWVAY29ycDpHRUhFSU0="}
    assert str(proxy.address) == "http://proxy.corp:3128"
    assert PASSWORD not in repr(proxy)
    assert "bWVA" not in repr(proxy)
    assert proxies.places == {("proxy.corp", 3128)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"socks5://me:{PASSWORD}@proxy.corp:1080", "HTTPS_PROXY names a proxy of the kind socks5"),
        (f"http://me:{PASSWORD}@[bad", "no usable address"),
        (f"http://me:{PASSWORD}@proxy.corp:99999", "no usable address"),
        (f"http://me:12/{PASSWORD}@proxy.corp:3128", "no usable address"),
        (f"http://me:12?{PASSWORD}@proxy.corp:3128", "no usable address"),
        (f"http://me:12#{PASSWORD}@proxy.corp:3128", "no usable address"),
        ("http://127.1:3128", "no usable address"),
        ("http://${PROXY}:3128", "no usable address"),
        ("http://", "no usable address"),
        ("/x", "no usable address"),
    ],
)
def test_what_is_no_proxy_is_an_error_that_keeps_the_password(
    monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        Proxies.of_environment()
    assert caught.value.hint
    assert PASSWORD not in f"{caught.value!r} {caught.value.hint}"
