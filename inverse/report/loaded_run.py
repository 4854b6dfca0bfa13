"""A run as Python and notebooks hold it: what its folder says, its table as HTML, its figures."""

from dataclasses import fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from inverse.campaign.candidate_table import is_ranked, shown_properties
from inverse.campaign.run import Run, read_run
from inverse.candidates.hit_counts import hit_rates
from inverse.candidates.objective import Objective
from inverse.report.candidate_map import Clusters
from inverse.report.charts import CHARTS
from inverse.report.console import ranked_table
from inverse.report.html_table import html_table
from inverse.report.plots import plotted
from inverse.report.sections import answer
from surrogates.errors import DataError, UnknownNameError
from surrogates.physics.properties import nearest_property

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN = 20
"""Ranked candidates in a notebook's table."""


class LoadedRun(Run):
    """A run that was read from its folder; see `Run` for what it holds."""

    def plot(self, figure: str = "plane", *properties: str, clusters: str | None = None) -> "Figure":
        """Return a figure of the run, by plotly.

        Args:
            figure: plane (two properties, the wish shaded, known materials behind), parity (predicted against
                verified), front (Pareto), progress (hits against core-hours), elements (periodic table), map
                (candidates by likeness, in clusters).
            properties: which, by name; without any those that were wished for first. Two for plane and front,
                one for parity.
            clusters: of the map: k-means, hierarchical or none; k-means where scikit-learn is installed.

        Raises:
            UnknownNameError: no such figure, property or kind of clusters.
            DataError: the run has nothing to show in it.
            MissingExtraError: clusters were asked for, and scikit-learn is not installed.
        """
        if figure not in CHARTS:
            raise UnknownNameError.among("figure", figure, CHARTS)
        known = shown_properties(self.candidates, self.config)
        for name in properties:
            if name not in known:
                raise UnknownNameError(f"unknown property {name!r}; {nearest_property(name, known)}")
        if clusters is not None and clusters not in list(Clusters):
            raise UnknownNameError.among("kind of clusters", clusters, list(Clusters))
        asked = {} if clusters is None or figure != "map" else {"clusters": Clusters(clusters)}
        for chart in CHARTS[figure](self, properties, **asked):
            if not chart.is_empty:
                return plotted(chart)
        raise DataError(f"figure {figure!r}: {self.folder}: nothing was found to show in it")

    def _repr_html_(self) -> str:
        """Return the ranked table, what the run amounts to and where its report is, for a notebook."""
        table = ranked_table(self.candidates, Objective.of(self.config), SHOWN)
        n_ranked = sum(map(is_ranked, self.candidates))
        lines = [f"<b>{escape(self.config.name)}</b>: {escape(answer(self))}"]
        if table.row_count:
            lines.append(html_table(table))
            more = f"The best {SHOWN} of {n_ranked}. " if n_ranked > SHOWN else ""
            lines.append(
                f"{more}P: all targets met, after the verdict; verified ± std on the DFT scale; "
                "✗ misses its target."
            )
        lines.append(escape(hit_rates(self.candidates, self.manifest).text))
        lines.append(f"Report: <code>{escape(str((self.folder / 'report.html').resolve()))}</code>")
        return "".join(line if line.startswith("<table") else f"<p>{line}</p>" for line in lines)


def load(folder: str | Path) -> LoadedRun:
    """Return the run of a folder, finished or not; needs no lock, changes nothing, loads no model.

    Raises:
        RunFolderError: no run there, or damaged.
        ConfigError: its config.yaml cannot be read.
    """
    return loaded(read_run(folder))


def loaded(run: Run) -> LoadedRun:
    """Return a run that was read, as notebooks hold it."""
    return LoadedRun(**{one.name: getattr(run, one.name) for one in fields(run)})
