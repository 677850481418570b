import pytest

import manifoldnet.linalg.kernel


@pytest.fixture
def closed_form(monkeypatch):
    """Closed forms for every number of matrices, also where LAPACK would be faster."""
    monkeypatch.setattr(manifoldnet.linalg.kernel, "MEDIUM_BATCH", 1)


@pytest.fixture
def lapack(monkeypatch):
    """LAPACK for every number of matrices."""
    monkeypatch.setattr(manifoldnet.linalg.kernel, "MEDIUM_BATCH", 1 << 40)
