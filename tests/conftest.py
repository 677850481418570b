"""Settings of the whole test run."""

from pathlib import Path

import pytest
import torch

# the tests' matrices are small: threads of two workers on two cores would wait for each other most of the time
torch.set_num_threads(1)
# cases that take seconds and have shorter siblings
LONG = frozenset((Path(__file__).parent / "long_cases.txt").read_text().splitlines())


@pytest.hookimpl(tryfirst=True)  # before pytest takes out what -m does not want
def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid in LONG:
            item.add_marker("slow")
