"""From a run folder to what a person reads: candidates.csv, CIFs, the page, the terminal's table."""

from inverse.report.page import build_report
from inverse.report.table import write_candidates_csv, write_cifs

__all__ = ["build_report", "write_candidates_csv", "write_cifs"]
