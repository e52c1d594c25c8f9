"""What the laws of several families need."""

from __future__ import annotations

import numpy as np
import pytest

DTYPES = [np.float32, np.float64]


each_dtype = pytest.mark.parametrize("dtype", DTYPES)
