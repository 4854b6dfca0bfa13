"""From a run folder to what a person reads: candidates.csv, CIFs, the page, the terminal's table."""

from inverse.campaign.candidate_table import write_candidates_csv, write_cifs
from inverse.report.page import build_report

__all__ = ["build_report", "write_candidates_csv", "write_cifs"]
