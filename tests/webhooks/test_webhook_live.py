"""A whole instance: a purchase makes a member, and a webhook and a stream are told of it."""

from __future__ import annotations

import http.client
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from identity_drive import World, running_world

from tests.webhooks.receiver import SECRET, Receiver, running_receiver, wait_until

pytestmark = pytest.mark.engine

USE = """
[audiences.buyers]
purpose = ""
space = "s0"
all = [{{ event = "purchase", within_days = 30, at_least = 1 }}]

[webhooks.mailing]
url = "{url}"
secret_env = "MAILING_SECRET"
audiences = ["buyers"]
space = "s0"
allow_private = true
"""


class Place(NamedTuple):
    """Where it happens. `options`: the settings with which commands are called."""

    world: World
    receiver: Receiver
    options: tuple[str, ...]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("webhooks")
    use_file = folder / "use.toml"
    with running_receiver() as receiver, pytest.MonkeyPatch.context() as patch:
        use_file.write_text(USE.format(url=receiver.url))
        patch.setitem(os.environ, "MAILING_SECRET", SECRET)
        with running_world(folder, spaces=1, options=(f"use_file={use_file}",)) as world:
            yield Place(world, receiver, ("--set", f"use_file={use_file}"))


def test_from_a_purchase_to_a_webhook_and_a_stream(place: Place) -> None:
    """Both tell the same; the stream to a key that the command made; what was delivered is listed."""
    instance, receiver = place.world.instance, place.receiver
    space = place.world.take_space()
    key = instance.command("key", "create", "--scope", "audience:read", "--space", "s0").stdout.strip()
    connections: list[http.client.HTTPConnection] = []
    answers: list[http.client.HTTPResponse] = []

    def is_listening() -> bool:
        connections.append(http.client.HTTPConnection(instance.config.host, instance.config.port, timeout=30))
        connections[-1].request("GET", "/v1/stream?audience=buyers", headers={"Authorization": f"Bearer {key}"})
        answers.append(connections[-1].getresponse())
        return answers[-1].status == 200

    def list_webhooks() -> str:
        return instance.command("webhook", "list", *place.options).stdout

    wait_until(is_listening)
    wait_until(lambda: "told of changes" in list_webhooks())
    anna = space.browser()
    assert anna.send(anna.make_event("purchase", 0.0)).status in (200, 204)
    data = next(line for line in answers[-1] if line.startswith(b"data: "))
    wait_until(lambda: receiver.requests)
    (told,) = receiver.told
    assert json.loads(data.removeprefix(b"data: ")) == told
    assert (told["type"], told["data"]["audience"], told["data"]["reason"]) == ("audience.entered", "buyers", "event")
    listed = instance.command("webhook", "deliveries", "mailing", "--json", *place.options).stdout
    assert json.loads(listed)["person_id"] == told["data"]["person_id"]
    counted = 'tagstitch_webhook_delivered_total{webhook="mailing"} 1.0'
    wait_until(lambda: counted in urllib.request.urlopen(instance.url + "/metrics").read().decode())
    for answer, connection in zip(answers, connections, strict=True):
        answer.close()
        connection.close()
