"""The report: sections of blocks, written as one self-contained HTML file."""

from lucule.view.report.axons import axon_section
from lucule.view.report.clusters import cluster_section, history_text
from lucule.view.report.comparison import comparison_plots, comparison_section
from lucule.view.report.experiment import experiment_section
from lucule.view.report.model import (
    Block,
    Code,
    Figure,
    Gallery,
    KeyValues,
    Link,
    Report,
    Section,
    Table,
    Text,
    Value,
    Warnings,
)
from lucule.view.report.overview import summarise
from lucule.view.report.page import to_html, write
from lucule.view.report.sarcomeres import all_sarcomeres_section, sarcomere_section

__all__ = [
    "Block",
    "Code",
    "Figure",
    "Gallery",
    "KeyValues",
    "Link",
    "Report",
    "Section",
    "Table",
    "Text",
    "Value",
    "Warnings",
    "all_sarcomeres_section",
    "axon_section",
    "cluster_section",
    "comparison_plots",
    "comparison_section",
    "experiment_section",
    "history_text",
    "sarcomere_section",
    "summarise",
    "to_html",
    "write",
]
