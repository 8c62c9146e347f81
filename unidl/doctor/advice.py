"""Advice on what to do next, most urgent first."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from unidl.doctor.frameworks import Framework
from unidl.machine.nvidia import Gpus
from unidl.registry import AUTO


def advise(
    rows: tuple[Framework, ...], gpus: Gpus, environment: Mapping[str, str], why_no_frameworks: str | None
) -> tuple[str, ...]:
    """Return sentences that state each problem and the command that fixes it; never empty."""
    if why_no_frameworks is not None:
        return (why_no_frameworks,)
    lines = [*_broken(rows), *_choice(rows, environment), *_gpus_unused(rows, gpus, environment)]
    usable = [row.framework for row in rows if row.usable]
    if not lines and usable:
        lines.append(f"No problems found: {' and '.join(usable)} can be used.")
    for row in rows:
        if not row.installed:
            apart = ", preferably in a separate environment" if usable else ""
            hint = apart if "pip install" in str(row.answer.why_not) else ""
            lines.append(f"{row.answer.why_not}{hint}.")
    return tuple(lines)


def _broken(rows: tuple[Framework, ...]) -> list[str]:
    return [
        f"{row.framework} is installed but cannot be loaded. {row.answer.why_not}"
        for row in rows
        if row.installed and not row.usable
    ]


def _choice(rows: tuple[Framework, ...], environment: Mapping[str, str]) -> list[str]:
    """Report a variable that selects an unknown backend, or an unusable one although another is usable."""
    source = next((name for name in ("UNIDL_BACKEND", "KERAS_BACKEND") if environment.get(name)), None)
    usable = [row.name for row in rows if row.usable]
    if source is None or any(row.selected and row.usable for row in rows):
        return []
    value = environment[source]
    if value == AUTO:
        return [f"{source}=auto needs the result of `unidl compare --choose`; run it first."]
    if not any(row.selected for row in rows):
        known = ", ".join(f"'{row.name}'" for row in rows)
        return [f"{source}={value!r} is not a known backend; known are {known}. Unset it or set one of these."]
    if usable:
        return [f"{source}={value!r} selects a backend that cannot be used here; usable are {', '.join(usable)}."]
    return []


def _gpus_unused(rows: tuple[Framework, ...], gpus: Gpus, environment: Mapping[str, str]) -> list[str]:
    """Report frameworks that see no GPU although the driver works."""
    if not gpus.found:
        return []
    hidden = any(name.endswith("_VISIBLE_DEVICES") for name in environment)
    lines: list[str] = []
    for row in rows:
        why = row.answer.why_no_gpu
        if row.usable and why is not None:
            command = f"pip install 'unidl[{row.name}-cuda]'"
            fix = f" Try {command}." if _has_extra(f"{row.name}-cuda") and command not in why and not hidden else ""
            lines.append(f"The NVIDIA driver works, but {row.framework} sees no GPU: {why}.{fix}")
    return lines


def _has_extra(extra: str) -> bool:
    return extra in (metadata.metadata("unidl").get_all("Provides-Extra") or ())
