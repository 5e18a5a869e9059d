"""Settings: defaults that hold, and one sentence for what is impossible."""

import pytest
from pydantic import ValidationError

from apd import Config, ConfigError


def test_no_settings_are_the_defaults():
    assert Config.of({}) == Config()


def test_settings_survive_json():
    config = Config(
        components=7,
        active=1.5,
        sites=("a.*", "b"),
        loss="kl",
        seed=2**62,
        objective="exact-k",
        hidden=("b",),
    )
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config.of(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("components", 0),
        ("components", 2.5),
        ("rank", 0),
        ("active", 0),
        ("steps", -1),
        ("steps", "many"),
        ("batch_size", 0),
        ("learning_rate", 0),
        ("warmup", 1.1),
        ("search", 1),
        ("separation", 0),
        ("exactness", 1),
        ("exact_by", 1.1),
        ("faithfulness", -1),
        ("schatten_p", 0),
        ("merging", 1.5),
        ("loss", "mae"),
        ("objective", "top-k"),
        ("attributions", -1),
        ("attribution_p", 0),
        ("hidden", "a.*"),
        ("reconstruction", -0.1),
        ("sites", 3),
        ("decompose", 0),
        ("decompose", 1),
        ("seed", -1),
        ("seed", 2**63),
        ("learning_rate", float("nan")),
    ],
)
def test_an_impossible_setting_is_named(name, value):
    for make in (Config.of, lambda settings: Config(**settings)):
        with pytest.raises(ConfigError, match=f"^setting '{name}': ") as caught:
            make({name: value})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["learning_rate", "active", "faithfulness", "simplicity"])
def test_infinity_is_no_setting(name):
    with pytest.raises(ConfigError, match=name):
        Config.of({name: float("inf")})


def test_an_unknown_setting_is_named_and_so_is_the_nearest():
    for name, said in {
        "stepz": "there is no setting 'stepz'; the nearest is 'steps'",
        "componets": "there is no setting 'componets'; the nearest is 'components'",
        "xyz": "there is no setting 'xyz'",
    }.items():
        for make in (Config.of, lambda settings: Config(**settings)):
            with pytest.raises(ConfigError) as caught:
                make({name: 3})
            assert str(caught.value) == said


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        Config().steps = 3
