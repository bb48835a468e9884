from __future__ import annotations

from pathlib import Path

import pytest

from collector.config import Config, describe_settings, load_config, load_settings
from collector.errors import ConfigError


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    """The order of strength is flag, environment, file, default."""
    file = tmp_path / "tagstitch.toml"
    file.write_text('port = 1\nengine_port = 1\ndata = "one"\n')
    environ = {"TAGSTITCH_PORT": "2", "TAGSTITCH_ENGINE_PORT": "2", "UNRELATED": "x"}
    read = load_settings({"port": 3, "host": None}, environ, file)
    assert (read.config.port, read.config.engine_port, read.config.data) == (3, 2, "one")
    assert read.config.host == "127.0.0.1"
    assert read.sources == {"port": "flag", "engine_port": "TAGSTITCH_ENGINE_PORT", "data": str(file)}


@pytest.mark.parametrize(
    ("environ", "name", "source"),
    [
        ({"TAGSTITCH_PORT": "eighty"}, "port", "TAGSTITCH_PORT"),
        ({"TAGSTITCH_PORT": "70000"}, "port", "TAGSTITCH_PORT"),
        ({"TAGSTITCH_DURABILITY": "maybe"}, "durability", "TAGSTITCH_DURABILITY"),
        ({"TAGSTITCH_DATABASE": "a; drop"}, "database", "TAGSTITCH_DATABASE"),
    ],
)
def test_a_bad_value_names_the_setting_and_where_it_stands(environ: dict[str, str], name: str, source: str) -> None:
    """Whoever made the mistake finds it by the message alone."""
    with pytest.raises(ConfigError) as caught:
        load_config({}, environ)
    assert caught.value.setting == name
    assert caught.value.source == source


def test_an_unknown_setting_is_refused_where_it_was_written_by_hand(tmp_path: Path) -> None:
    """A typing error in the file or a flag does not pass unseen; a foreign variable does."""
    file = tmp_path / "settings.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ConfigError, match="no such setting"):
        load_config({}, {}, file)
    with pytest.raises(ConfigError, match="no such setting"):
        load_config({"prot": 1}, {})
    assert load_config({}, {"TAGSTITCH_PROT": "1"}) == Config()


def test_a_named_file_must_be_there_and_be_toml(tmp_path: Path) -> None:
    """A wrong --config ends with one line, not with the defaults."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config({}, {}, tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("port = = 1")
    with pytest.raises(ConfigError, match="not TOML"):
        load_config({}, {}, tmp_path / "bad.toml")


def test_every_setting_has_a_type_and_a_sentence() -> None:
    """docs/settings.md can be made from the class alone."""
    rows = describe_settings()
    assert {row.name for row in rows} == set(Config.__struct_fields__)
    for row in rows:
        assert row.type in {"str", "int", "float", "bool"}
        assert row.sentence.endswith(".")
