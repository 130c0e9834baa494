"""The overview, the first section of the report: one screen that a reader takes in at a glance."""

from analyze.report.sections.overview.first_screen import overview_section

__all__ = ["overview_section"]
