"""An examination as one page of HTML that needs nothing else. `primus doctor --html` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from primus.doctor.report import (
    FOLDER_HEADER,
    NETWORK_HEADER,
    NODE_HEADER,
    RATE_HEADER,
    VERDICTS,
    folder_rows,
    network_rows,
    node_rows,
    rate_rows,
)

_GPU_FIELDS = {
    "index": "GPU",
    "address": "address",
    "temperature_c": "°C",
    "memory_temperature_c": "memory °C",
    "power_w": "W",
    "clock_mhz": "MHz",
    "best_clock_mhz": "best MHz",
    "ecc_corrected": "corrected",
    "ecc_uncorrected": "uncorrected",
    "throttled": "throttled",
    "link": "link",
}


def page(answer: Mapping[str, Any]) -> str:
    """The page."""
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    severity = answer["severity"] or "fine"
    return template.substitute(
        severity=severity,
        verdict=escape(VERDICTS[answer["severity"]]),
        started=escape(answer["started"]),
        mode=escape(answer["mode"]),
        run_directory=escape(answer["run_directory"]),
        findings=_findings(answer),
        rates=_section("Measured", RATE_HEADER, rate_rows(answer)),
        nodes=_section("Nodes", NODE_HEADER, node_rows(answer["nodes"])),
        network=_section("Network", NETWORK_HEADER, network_rows(answer["nodes"])),
        folders=_section("Folders", FOLDER_HEADER, folder_rows(answer["nodes"])),
        gpus=_section("GPUs at rest", ("node", *_GPU_FIELDS.values()), _gpus(answer["nodes"])),
    )


def _findings(answer: Mapping[str, Any]) -> str:
    items = [
        f'<li class="{escape(each["severity"])}"><strong>{escape(each["severity"])}: {escape(each["name"])}</strong> '
        f"— {escape(each['where'])}<br>{escape(each['evidence'])}<br><em>Remedy:</em> {escape(each['remedy'])}</li>"
        for each in answer["findings"]
    ]
    items += [f"<li><strong>left out</strong> — {escape(each)}</li>" for each in answer["left_out"]]
    return f"<ul>{''.join(items)}</ul>" if items else "<p>None.</p>"


def _section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<h2>{escape(title)}</h2><div class="wide" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _gpus(nodes: Sequence[Mapping[str, Any]]) -> Iterable[Sequence[str]]:
    for node in nodes:
        for gpu in node["facts"].get("gpus", {}).get("gpus", []):
            yield str(node["node"]), *(str(gpu.get(name, "")) for name in _GPU_FIELDS)
