"""``python -m dc_graphsam``: the program ``dc-graphsam``."""

from __future__ import annotations

import sys

from dc_graphsam.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
