"""The documented table is the registry's."""

import math
from pathlib import Path

from manifoldnet.integrators import METHODS
from manifoldnet.integrators.table import DOMAINS, markdown, rows

PAGE = Path(__file__).parents[2] / "docs" / "integrators.md"


def test_the_page_is_the_one_that_the_command_prints():
    assert PAGE.read_text() == markdown(), "run: manifoldnet methods --markdown > docs/integrators.md"


def test_every_method_has_a_row_and_every_domain_a_meaning():
    table = {row["name"]: row for row in rows()}
    assert set(table) == set(METHODS)
    assert {row["runs on"] for row in table.values()} == set(DOMAINS)
    assert table["gauss4"]["circle radius"] == math.inf
    assert table["cf4"]["pair"] == 3
    assert table["rk4"]["pair"] is None
    assert "| rk38 | runge-kutta | vector | 4 |  |  | 4 |" in markdown()


def test_the_pictures_are_there():
    for name in ("work_precision.png", "energy.png"):
        assert f"({name})" in markdown()
        assert (PAGE.parent / name).stat().st_size > 10_000
