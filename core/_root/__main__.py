"""`python -m mission_system` is `mission`."""

from __future__ import annotations

from .web.cli import main

if __name__ == "__main__":
    main()
