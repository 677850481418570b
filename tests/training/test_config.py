import json

import pytest

from manifoldnet.errors import InputError
from manifoldnet.training import read_config

LIKE = {"steps": 100, "rate": 0.1, "seed": 0, "channels": [4, 8], "kind": "toy", "more": {"a": 1, "b": 2},
        "parts": [{"name": "a", "ends": [0, 4], "share": 0.5, "kept": True}]}  # fmt: skip
PART = LIKE["parts"][0]


def read(tmp_path, value):
    path = tmp_path / "c.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return read_config(path, LIKE)


def test_configurations_of_the_same_form_are_read(tmp_path):
    for change in ({}, {"rate": 1}, {"seed": 7, "channels": [1]}, {"kind": None}, {"more": {"a": 3}}, {"extra": [1]},
                   {"parts": []}, {"parts": [PART, PART | {"kept": False, "share": 1}]}):  # fmt: skip
        assert read(tmp_path, LIKE | change) == LIKE | change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: .*0"),
        ({"steps": 1.5}, "steps: .*1.5"),
        ({"steps": True}, "steps: .*true"),
        ({"rate": -0.1}, "rate: .*-0.1"),
        ({"rate": "fast"}, 'rate: .*"fast"'),
        ({"channels": 4}, "channels: "),
        ({"channels": [4, "x"]}, "channels: "),
        ({"kind": 3}, "kind: "),
        ({"more": {"c": 1}}, "more: "),
        ({"seed": -1}, "seed: "),
        ({"parts": PART}, "parts: .*list.*name .*ends .*share .*kept"),
        ({"parts": [{"name": "a"}]}, "parts: .*share .a positive number.*kept .true or false"),
        ({"parts": [PART | {"more": 1}]}, "parts: "),
        ({"parts": [PART | {"share": 0}]}, "parts: "),
        ({"parts": [PART | {"kept": 1}]}, "parts: "),
        ({"parts": [PART | {"ends": [0.5, 4]}]}, "parts: "),
    ],
)
def test_values_of_another_kind_are_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, LIKE | change)


def test_what_is_not_a_configuration_is_refused(tmp_path):
    with pytest.raises(InputError, match="JSON"):
        read(tmp_path, "{")
    with pytest.raises(InputError, match="list"):
        read(tmp_path, "[]")
    with pytest.raises(InputError, match="lacks rate, seed"):
        read(tmp_path, {k: v for k, v in LIKE.items() if k not in ("rate", "seed")})
    with pytest.raises(InputError, match="no such configuration"):
        read_config(tmp_path / "none.json", LIKE)
