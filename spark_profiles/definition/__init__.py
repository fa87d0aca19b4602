"""What a definition says: YAML or Python -> frozen models, checked before any data is read."""

from __future__ import annotations
