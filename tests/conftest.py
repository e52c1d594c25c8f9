"""The fixtures that several test files use."""

import signal

from tests.study_data import prepared_digits
from tests.tracking_data import home_fixture, migrated_db_fixture, new_home_fixture

__all__ = ["home_fixture", "migrated_db_fixture", "new_home_fixture", "prepared_digits"]

# A shell starts background jobs with SIGINT ignored, and child processes inherit that. Tests that press Ctrl-C must
# not depend on how pytest was started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
