"""What a machine must have for these tests; ./dev test installs it."""
import os
import shutil

import pytest


def unavailable(reason):
    """Skips the test and says why; in CI, where everything is there, that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must run this: {reason}")
    pytest.skip(reason)


def need(*programs):
    for program in programs:
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            unavailable(f"{program} is not installed (./dev test installs it)")
