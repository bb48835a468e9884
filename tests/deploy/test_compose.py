"""compose.yaml, read as the compose specification defines it. No container engine takes part: none is here."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import yaml  # type: ignore[import-untyped,unused-ignore]

from collector import __version__
from collector.cli import make_app
from collector.config import ENVIRONMENT_PREFIX, Config, load_config
from collector.keyring import read_keyring
from collector.store.dsn import read_dsn
from tests.deploy.tools import DEPLOY, REPOSITORY

COMPOSE = DEPLOY / "compose.yaml"
COLLECTOR = {"prepare", "migrate", "web", "load", "stitch", "activate", "govern"}


def read_compose() -> dict[str, Any]:
    """Read the file as `docker compose config` would: anchors merged, variables replaced by their defaults."""
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    assert "${" not in text, "every variable has a default"
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def test_it_is_what_the_compose_specification_defines() -> None:
    """A strict reader of the specification knows every key, and every network and volume that is named is declared."""
    if importlib.util.find_spec("compose_spec") is None:
        message = "compose-spec is not installed: pip install compose-spec"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    from compose_spec import PyCompose  # type: ignore[import-not-found,unused-ignore]

    # `host-gateway` is Docker's word for the host's address; this reader wants a number there.
    compose = PyCompose.from_json(json.dumps(read_compose()).replace(":host-gateway", ":172.17.0.1"))
    compose.validate_networks()
    compose.validate_volumes()
    compose.validate_configs()
    compose.validate_secrets()
    assert set(compose.service_names()) == COLLECTOR | {"clickhouse", "proxy"}


def test_only_the_proxy_is_reachable_and_only_from_this_machine() -> None:
    """Nothing but the proxy publishes a port, on 127.0.0.1; what sends to webhooks alone has a way out."""
    read = read_compose()
    assert {name: service["ports"] for name, service in read["services"].items() if "ports" in service} == {
        "proxy": ["127.0.0.1:8080:8080"]
    }
    assert read["networks"]["inside"]["internal"] is True
    for name in (COLLECTOR | {"clickhouse"}) - {"prepare", "activate"}:
        assert read["services"][name]["networks"] == ["inside"], name
    assert read["services"]["activate"]["networks"] == ["inside", "outside"], "webhooks are elsewhere"
    assert read["services"]["prepare"]["network_mode"] == "none"
    address = read["services"]["proxy"]["networks"]["inside"]["ipv4_address"]
    assert read["services"]["web"]["environment"]["TAGSTITCH_TRUSTED_PROXIES"] == f"{address}/32"
    assert read["services"]["proxy"]["environment"]["TAGSTITCH_WEB"] == "web:8000"
    assert read["services"]["web"]["environment"]["TAGSTITCH_PORT"] == "8000"


def test_our_containers_may_do_next_to_nothing() -> None:
    """They run as nobody in particular, on a read-only root, without capabilities and without a way to get any."""
    services = read_compose()["services"]
    for name in COLLECTOR | {"proxy"}:
        assert services[name]["read_only"] is True, name
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["security_opt"] == ["no-new-privileges:true"], name
    for name in COLLECTOR:
        assert services[name]["user"] == "10001:10001", name
        assert "privileged" not in services[name]
        assert "cap_add" not in services[name]


def test_services_wait_for_what_they_need() -> None:
    """The store waits for its users, the loader for the schema; web waits for neither store nor schema."""
    services = read_compose()["services"]
    waits = {
        name: {on: how["condition"] for on, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    assert waits["clickhouse"] == {"prepare": "service_completed_successfully"}
    assert waits["migrate"] == {"clickhouse": "service_healthy"}
    assert (
        waits["load"]
        == waits["stitch"]
        == waits["activate"]
        == waits["govern"]
        == {"migrate": "service_completed_successfully"}
    )
    assert waits["web"] == {"prepare": "service_completed_successfully"}
    image_has_healthcheck = "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()
    for name, needs in waits.items():
        for on, condition in needs.items():
            if condition == "service_healthy":
                assert "test" in services[on].get("healthcheck", {}) or (on == "web" and image_has_healthcheck), name


def test_commands_and_settings_exist() -> None:
    """Every command, option and TAGSTITCH_ setting of our services is one that the program knows."""
    commands = typer.main.get_command(make_app()).commands  # type: ignore[attr-defined]  # a group has them
    settings = {item.name for item in msgspec.structs.fields(Config)}
    services = read_compose()["services"]
    for name in COLLECTOR - {"prepare"}:
        command, *options = services[name]["command"]
        assert command == name
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known
        environment = {
            key.removeprefix(ENVIRONMENT_PREFIX).lower(): value for key, value in services[name]["environment"].items()
        }
        assert set(environment) <= settings, name
        load_config(environment, environ={})


def test_no_secret_stands_in_the_file_or_an_environment() -> None:
    """Neither the file nor any service's environment holds a password or names a variable for one."""
    services = read_compose()["services"]
    for name, service in services.items():
        pairs = [f"{key}={value}" for key, value in service.get("environment", {}).items()]
        words = " ".join(pair for pair in pairs if pair != "TAGSTITCH_SECRETS_FILE=/secrets/secrets.json")
        assert not re.search(r"passw|secret|token|dsn|key", words, re.IGNORECASE), name


def test_versions_are_the_tested_ones() -> None:
    """The server is of the embedded engine's version, and the image of this program's."""
    services = read_compose()["services"]
    engine = re.search(r"^chdb-core==(\d+\.\d+)\.", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    assert engine is not None
    assert services["clickhouse"]["image"] == f"clickhouse/clickhouse-server:{engine[1]}"
    assert services["web"]["image"] == f"tagstitch:{__version__}"


def test_what_is_mounted_exists() -> None:
    """Every file of the repository that a service mounts is there, and is mounted read-only."""
    for service in read_compose()["services"].values():
        for volume in service.get("volumes", []):
            source, *_, how = volume.split(":")
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), volume
                assert how == "ro", volume


def prepare(folder: Path) -> str:
    """Run prepare.py as its container would."""
    for name in ("secrets", "store-users"):
        (folder / name).mkdir(exist_ok=True)
    done = subprocess.run(
        [
            sys.executable,
            str(DEPLOY / "prepare.py"),
            f"--secrets={folder / 'secrets'}",
            f"--store-users={folder / 'store-users'}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
    )
    return done.stdout.strip()


def test_prepare_makes_secrets_once_and_tells_the_store_a_digest(tmp_path: Path) -> None:
    """The DSN that the services read is the user that ClickHouse gets; a second run changes not one byte."""
    assert prepare(tmp_path) == "secrets made"
    secrets, users = tmp_path / "secrets", tmp_path / "store-users" / "tagstitch.xml"
    keyring = read_keyring(secrets / "secrets.json", environ={})
    config = load_config({}, environ={}, file=secrets / "tagstitch.toml")
    address = read_dsn(config.dsn, config.database)
    assert (address.host, address.port, address.database) == ("clickhouse", 8123, "tagstitch")
    assert (address.user, address.password) == (keyring.writer.user, keyring.writer.password)
    tree = ElementTree.fromstring(users.read_text())
    user = tree.find(f"users/{address.user}")
    assert user is not None
    assert user.findtext("password_sha256_hex") == sha256(address.password.encode()).hexdigest()
    assert [ip.text for ip in tree.findall("users/default/networks/ip")] == ["127.0.0.1", "::1"]
    assert address.password not in users.read_text()
    assert stat.S_IMODE((secrets / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((secrets / "tagstitch.toml").stat().st_mode) == 0o600
    assert stat.S_IMODE(users.stat().st_mode) == 0o644

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert prepare(tmp_path) == "nothing to do"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_prepare_never_replaces_damaged_secrets(tmp_path: Path) -> None:
    """Secrets that cannot be read end it with an error, and stay as they are."""
    (tmp_path / "secrets").mkdir()
    damaged = tmp_path / "secrets" / "secrets.json"
    damaged.write_text("{")
    damaged.chmod(0o600)
    with pytest.raises(subprocess.CalledProcessError):
        prepare(tmp_path)
    assert damaged.read_text() == "{"
