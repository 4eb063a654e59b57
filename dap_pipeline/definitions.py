"""The definitions that Dagster loads, made from the settings.

Loading them needs no network and no credentials. `orchestration/wiring.py` lists what there is.
"""

from __future__ import annotations

from dap_pipeline.orchestration.wiring import build_definitions
from dap_pipeline.settings import load_settings

defs = build_definitions(load_settings())
