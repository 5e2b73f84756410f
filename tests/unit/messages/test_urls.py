"""URLs: one spelling per address, and nothing that two parsers could read differently."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import LinkError, MalformedError
from skyswarm.messages.urls import Url, parse_endpoint, parse_url

ENDPOINTS = [
    "http://127.0.0.1:8080",
    "http://localhost",
    "https://a.example",
    "https://a.example/a/" + "0" * 64,
    "https://xn--bcher-kva.example:8443/x_y/-/~z/v1.0",
    "http://[::1]:9",
    "http://[2001:db8::1]/a",
    "http://[::ffff:102:304]",
    "http://[::ffff:0:0]",
    "http://1.2.3.4.example",
    "http://0x7f.example",
]
REFUSED = [
    "",
    "a.example",
    "//a.example",
    "ftp://a.example",
    "file:///etc/passwd",
    "HTTP://a.example",
    "http:a.example",
    "http:///a",
    "http://",
    "http://A.example",
    "http://b\u00fccher.example",
    "http://a_b.example",
    "http://-a.example",
    "http://a-.example",
    "http://a..example",
    "http://.a",
    "http://a.example.",
    "http://" + "a" * 64 + ".example",
    "http://" + ".".join(["a" * 60] * 5),
    "http://me@a.example",
    "http://me:pw@a.example",
    "http://a.example@evil.example",
    "http://a.example\\@evil.example",
    "http://a.example#x",
    "http://a.example/#",
    "http://a.example:",
    "http://a.example:0",
    "http://a.example:080",
    "http://a.example:65536",
    "http://a.example:80",
    "https://a.example:443",
    "http://a.example:8o",
    "http://a.example:-1",
    "http://127.1",
    "http://2130706433",
    "http://0x7f000001",
    "http://0x7f.0.0.0x1",
    "http://0177.0.0.1",
    "http://127.0.0.01",
    "http://256.0.0.1",
    "http://1.2.3.4.5",
    "http://a.example.1",
    "http://[::1",
    "http://::1",
    "http://[::1]x",
    "http://[0:0:0:0:0:0:0:1]",
    "http://[::1%25eth0]",
    "http://[127.0.0.1]",
    "http://[:::]",
    "http://[::ffff:1.2.3.4]",
    "http://[::ffff:0102:304]",
    "http://[0:0:0:0:0:ffff:102:304]",
    "http://a.example/a b",
    "http://a.example/\n",
    "http://a.example\n",
    " http://a.example",
    "http://a.example/\x00",
    "http://a.example/%",
    "http://a.example/%g0",
    "http://a.example/.",
    "http://a.example/a/../b",
    "http://a.example/a/%2e%2E/b",
    "http://a.example/.%2e",
    "http://a.example/<x>",
    'http://a.example/"',
    "http://a.example/a\\b",
    "http://a.example/\u00e9",
    "http://a.example?x=\u00e9",
    "http://a.example?a#b",
    "http://a.example/[",
]
URLS = [
    "http://a.example/",
    "http://a.example?",
    "https://b.s3.example/k%20ey?X-Amz-Expires=60&X-Amz-Signature=ab%2Fcd&x=%E2%82%AC",
    "http://127.0.0.1:8080/a/b//c/...?q=/?",
]


@pytest.mark.parametrize("text", ENDPOINTS)
def test_endpoints(text: str) -> None:
    assert parse_endpoint(text) == text
    url, other = parse_url(text), urlsplit(text)
    assert (url.scheme, url.authority, url.path) == (other.scheme, other.netloc, other.path or "/")


@pytest.mark.parametrize("text", URLS)
def test_urls_that_are_no_endpoints(text: str) -> None:
    url, other = parse_url(text), urlsplit(text)
    assert (url.authority, url.path, url.query) == (other.netloc, other.path or "/", other.query)
    with pytest.raises(MalformedError):
        parse_endpoint(text)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    for parse in (parse_url, parse_endpoint):
        with pytest.raises(MalformedError):
            parse(text)


def test_lengths_and_the_callers_error() -> None:
    longest = "http://a.example/" + "a" * (512 - 17)
    assert parse_endpoint(longest) == longest
    with pytest.raises(LinkError):
        parse_endpoint(longest + "a", error=LinkError)
    assert parse_url("http://a.example/" + "a" * (4096 - 17)).path.endswith("a")
    with pytest.raises(MalformedError):
        parse_url("http://a.example/" + "a" * (4097 - 17))


@given(st.text("htps:/[]@?#%.\\0127afxA-_~ \n\u0661", max_size=30).map(lambda tail: "http://" + tail))
def test_what_is_accepted_reads_the_same_elsewhere(text: str) -> None:
    try:
        url = parse_url(text)
    except MalformedError:
        return
    other = urlsplit(text)
    assert (url.authority, url.query) == (other.netloc, other.query)
    assert url == Url("http", other.netloc, other.path or "/", other.query)
    assert other.username is None
    assert other.fragment == ""
