"""The fixtures that several test files use."""

from tests.study_data import prepared_digits, quasi_random
from tests.tracking_data import home_fixture, migrated_db_fixture, new_home_fixture

__all__ = ["home_fixture", "migrated_db_fixture", "new_home_fixture", "prepared_digits", "quasi_random"]
