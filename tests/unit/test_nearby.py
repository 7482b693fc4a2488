"""Which addresses lead to this machine and its neighbourhood, and which of them may be asked for files."""

import pytest

from aiocircle.nearby import Nearby, Reach, nearby


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("127.0.0.1", Nearby.MACHINE),
        ("127.0.0.1.", Nearby.MACHINE),
        ("127.255.255.254", Nearby.MACHINE),
        ("0.0.0.0", Nearby.MACHINE),
        ("0.1.2.3", Nearby.MACHINE),
        ("::1", Nearby.MACHINE),
        ("::", Nearby.MACHINE),
        ("::ffff:127.0.0.1", Nearby.MACHINE),
        ("::ffff:7f00:1", Nearby.MACHINE),
        ("::127.0.0.1", Nearby.MACHINE),
        ("64:ff9b::127.0.0.1", Nearby.MACHINE),
        ("64:ff9b:1::127.0.0.1", Nearby.MACHINE),
        ("2002:7f00:1::", Nearby.MACHINE),
        ("localhost", Nearby.MACHINE),
        ("LocalHost.", Nearby.MACHINE),
        ("anything.localhost", Nearby.MACHINE),
        ("169.254.0.1", Nearby.LINK),
        ("fe80::1", Nearby.LINK),
        ("fe80::1%eth0", Nearby.LINK),
        ("febf::1", Nearby.LINK),
        ("::ffff:169.254.0.1", Nearby.LINK),
        ("169.254.169.254", Nearby.METADATA),
        ("::ffff:169.254.169.254", Nearby.METADATA),
        ("64:ff9b::a9fe:a9fe", Nearby.METADATA),
        ("100.100.100.200", Nearby.METADATA),
        ("168.63.129.16", Nearby.METADATA),
        ("fd00:ec2::254", Nearby.METADATA),
        ("224.0.0.1", Nearby.NOWHERE),
        ("255.255.255.255", Nearby.NOWHERE),
        ("ff02::1", Nearby.NOWHERE),
    ],
)
def test_what_is_near_is_found_in_every_spelling(host: str, place: Nearby) -> None:
    assert nearby(host) is place
    assert Reach("circleci.com").refusal(host) == f"leads to {place.value}, where the API is not"


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd12:3456::1", "::ffff:10.0.0.1"),  # private networks
        *("8.8.8.8", "128.0.0.1", "169.253.0.1", "2600::1", "64:ff9b::8.8.8.8", "2001:db8::1"),
        *("circleci.com", "localhost.example.com", "notlocalhost", "127.0.0.1.nip.io"),
    ],
)
def test_private_networks_and_the_world_are_open(host: str) -> None:
    assert nearby(host) is None
    assert Reach("circleci.com").refusal(host) is None


def test_an_api_on_this_machine_opens_this_machine_and_nothing_else() -> None:
    for api in ("127.0.0.1", "localhost", "::1"):
        reach = Reach(api)
        assert [reach.refusal(host) for host in ("127.0.0.2", "::1", "localhost", api)] == [None] * 4
        assert reach.refusal("169.254.0.1")
        assert reach.refusal("169.254.169.254")


def test_an_api_on_the_wire_opens_the_wire_but_not_the_metadata_service() -> None:
    reach = Reach("169.254.7.7")
    assert reach.refusal("169.254.0.1") is None
    assert reach.refusal("169.254.169.254")
    assert reach.refusal("127.0.0.1")


def test_of_a_names_addresses_only_those_out_in_the_network_are_admitted() -> None:
    reach = Reach("circleci.com")
    assert reach.admitted("files.example", ["127.0.0.1", "203.0.113.1", "fe80::1%2"]) == {"203.0.113.1"}
    assert reach.admitted("files.example", ["::1"]) == frozenset()


def test_where_the_apis_own_name_leads_files_may_be_too() -> None:
    reach = Reach("circleci.internal")
    assert reach.refusal("127.0.0.1")
    assert reach.admitted("CircleCI.internal.", ["127.0.0.1"]) == {"127.0.0.1"}
    assert reach.admitted("files.example", ["127.0.0.1", "169.254.169.254"]) == {"127.0.0.1"}
    assert reach.refusal("127.0.0.1") is None
