"""From a run folder to what a person reads: the page, tables, figures, exports, the terminal's summary."""
