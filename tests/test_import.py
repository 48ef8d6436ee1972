"""What an import says that cannot succeed."""

import shutil
import subprocess
import sys
from pathlib import Path

import fastelbo as fe


def test_a_source_tree_that_is_not_built_says_so(tmp_path):
    for source in Path(fe.__file__).parent.glob("*.py"):
        (tmp_path / "fastelbo").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "fastelbo")
    run_import = [
        sys.executable,
        "-S",
        "-c",
        "import fastelbo",
    ]  # no site: an editable install would lend its core
    error = subprocess.run(run_import, cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    last = error.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: fastelbo's compiled core is missing from {tmp_path / 'fastelbo'}")
    assert "pip install ." in last
    assert "pip install -e ." in last
