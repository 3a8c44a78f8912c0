import pytest
from forks import Forks


@pytest.fixture(scope="module")
def forks():
    """Starts processes of the command line that need not import anything."""
    forks = Forks()
    yield forks
    forks.close()
