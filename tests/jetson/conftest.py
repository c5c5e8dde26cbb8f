"""Made-up boards for the tests of the scripts."""

import pytest
from boards import ORIN_62, Place


@pytest.fixture
def place(tmp_path):
    return lambda board=ORIN_62: Place(tmp_path, board)
