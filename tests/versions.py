"""Which libraries the tests run with: some things only newer ones can do."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

ARROW = int(pa.__version__.partition(".")[0])
PANDAS = int(pd.__version__.partition(".")[0])
STR = "str" if PANDAS >= 3 else "string"  # the name of the dtype of text
