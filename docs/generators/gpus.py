"""The table of GPUs that `unidl plan` knows, from its file."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any


def pages() -> dict[str, str]:
    """Return the table of figures, and the list of where they are from, as files to include."""
    text = resources.files("unidl.machine").joinpath("gpus.toml").read_text(encoding="utf-8")
    gpus: list[dict[str, Any]] = tomllib.loads(text)["gpu"]
    columns = ("float32", "TF32", "bfloat16", "float16")
    lines = [
        f"| GPU | architecture | year | memory GB | GB/s | {' | '.join(columns)} | W |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for gpu in gpus:
        rates = (gpu.get(f"{name}_tflops") for name in ("fp32", "tf32", "bf16", "fp16"))
        cells = (
            gpu["name"],
            gpu["architecture"],
            gpu["released"][:4],
            _figure(gpu["memory_gb"]),
            _figure(gpu["bandwidth_gb_s"]),
            *map(_figure, rates),
            _figure(gpu.get("power_watts")),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    sources = [f"- **{gpu['name']}** ({gpu['as_of']}): {'; '.join(map(_plain, gpu['source']))}" for gpu in gpus]
    return {"gpus.txt": "\n".join(lines) + "\n", "gpu_sources.txt": "\n".join(sources) + "\n"}


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,g}"


def _plain(text: str) -> str:
    """A source as text that Markdown does not read as markup."""
    return "".join(f"\\{sign}" if sign in "_*<>`[]" else sign for sign in text)
