from __future__ import annotations

import gzip
import hashlib
from datetime import timedelta
from xml.etree import ElementTree

import pytest
import requests

from .caller import Caller


@pytest.fixture
def link(caller: Caller) -> str:
    return caller.links(caller.ended_job("users", format="csv"))[0]


def refusal(answer: requests.Response) -> tuple[int, str | None, str | None]:
    assert answer.headers["content-type"] == "application/xml"
    error = ElementTree.fromstring(answer.content)
    return answer.status_code, error.findtext("Code"), error.findtext("Message")


def test_a_link_needs_no_token_and_its_name_is_that_of_the_object(link: str) -> None:
    answer = requests.get(link, timeout=30)
    assert answer.status_code == 200
    assert link.partition("?")[0].endswith("-c000.csv.gz")
    assert gzip.decompress(answer.content).startswith(b"key.id,")


def test_a_link_refuses_a_second_way_of_logging_in(caller: Caller, link: str) -> None:
    answer = requests.get(link, headers={"Authorization": f"Bearer {caller.token}"}, timeout=30)
    assert refusal(answer) == (400, "InvalidArgument", "Only one auth mechanism allowed")


def test_a_link_dies_after_15_minutes_and_a_new_one_works(caller: Caller) -> None:
    job = caller.ended_job("users", format="csv")
    link = caller.links(job)[0]
    caller.sandbox.service.clock.advance(timedelta(minutes=14))
    assert requests.get(link, timeout=30).ok
    caller.sandbox.service.clock.advance(timedelta(minutes=2))
    answer = requests.get(link, timeout=30)
    assert refusal(answer) == (403, "AccessDenied", "Request has expired")
    assert requests.get(caller.links(job)[0], timeout=30).ok


@pytest.mark.parametrize(
    ("old", "new"), [("Expires=900", "Expires=901"), ("part-00000", "part-00001")]
)
def test_a_changed_link_is_refused(link: str, old: str, new: str) -> None:
    assert old in link
    code = refusal(requests.get(link.replace(old, new), timeout=30))[:2]
    assert code == (403, "SignatureDoesNotMatch")


def test_a_link_without_its_signature_is_refused(link: str) -> None:
    answer = requests.get(link.partition("?")[0], timeout=30)
    assert refusal(answer) == (403, "AccessDenied", "Access Denied")


def test_an_object_that_vanished_under_its_link_is_not_found(caller: Caller) -> None:
    job = caller.ended_job("users", format="csv")
    caller.sandbox.service.clock.advance(timedelta(hours=23, minutes=55))
    later = Caller(caller.sandbox)
    link = later.links(job)[0]
    caller.sandbox.service.clock.advance(timedelta(minutes=6))
    assert refusal(requests.get(link, timeout=30))[:2] == (404, "NoSuchKey")


def test_bytes_come_with_length_and_etag_and_without_content_encoding(link: str) -> None:
    with requests.get(link, timeout=30, stream=True) as answer:
        content = answer.raw.read(decode_content=False)
        assert "content-encoding" not in answer.headers
        assert int(answer.headers["content-length"]) == len(content)
        assert answer.headers["etag"]
        assert answer.headers["content-type"].startswith("text/csv")


def test_a_download_can_go_on_where_it_stopped(link: str) -> None:
    whole = requests.get(link, timeout=30).content
    rest = requests.get(link, headers={"Range": "bytes=100-"}, timeout=30)
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
    assert hashlib.sha256(whole[:100] + rest.content).digest() == hashlib.sha256(whole).digest()


def test_a_range_beyond_the_end_is_refused(link: str) -> None:
    headers = {"Range": "bytes=999999999-"}
    assert requests.get(link, headers=headers, timeout=30).status_code == 416


def test_links_are_given_in_a_batch(caller: Caller) -> None:
    job = caller.ended_job("users", format="csv")
    answer = caller.post("/dap/object/url", job["objects"])
    assert list(answer.json()) == ["urls"]
    assert list(answer.json()["urls"]) == [each["id"] for each in job["objects"]]
    assert {tuple(each) for each in answer.json()["urls"].values()} == {("url",)}


def test_a_path_cannot_leave_its_job(caller: Caller) -> None:
    job = caller.ended_job("users", format="csv")
    for name in ("..", "../../credentials.json", "", "part-99999"):
        body = [{"id": f"{job['id']}/{name}"}]
        assert caller.post("/dap/object/url", body).status_code == 404
