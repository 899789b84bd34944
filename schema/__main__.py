"""`python -m mission_system.schema > schema.graphql` writes the snapshot of the schema."""

import sys

from .build import sdl

sys.stdout.write(sdl())
