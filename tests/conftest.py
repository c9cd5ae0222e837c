import os
from pathlib import Path

import pytest
from browser import Browser, missing


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with voc-mini, msrc-mini, voc12-lists and weights."""
    folder = os.environ.get("PSEUDOMASK_DATA")
    if not folder:
        pytest.skip("set PSEUDOMASK_DATA to the folder that holds voc-mini to run tests on real images")
    root = Path(folder).resolve()
    if not (root / "voc-mini").is_dir():
        pytest.skip(f"PSEUDOMASK_DATA={folder} has no folder voc-mini")
    return root


@pytest.fixture(scope="module")
def browser():
    """A desktop browser window."""
    if missing():
        pytest.skip(missing())
    window = Browser()
    yield window
    window.close()


@pytest.fixture(scope="module")
def phone():
    """A browser on a phone."""
    if missing():
        pytest.skip(missing())
    window = Browser(390, 800)
    yield window
    window.close()
