"""A report as JSON, and the schema it keeps to."""

from __future__ import annotations

import json as text
from pathlib import Path

from mad.reports.model import Report

SCHEMA = Path(__file__).parent / "schema.json"


def json(report: Report) -> str:
    """All of the report's data; numbers that are not finite are null."""
    return report.model_dump_json() + "\n"


def schema() -> str:
    """The JSON schema of that, as published in `SCHEMA`."""
    return text.dumps(Report.model_json_schema(mode="serialization"), indent=2) + "\n"
