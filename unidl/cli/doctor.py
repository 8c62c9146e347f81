"""`unidl doctor`: report what this machine and each framework support, with reasons for what is missing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from unidl.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console
    from rich.table import Table

    from unidl.backend import Device
    from unidl.doctor.frameworks import Framework
    from unidl.doctor.survey import Choice, Survey
    from unidl.machine.nvidia import Gpu


def register(subparsers: options.Subparsers) -> None:
    """Add the command."""
    parser = options.add_command(
        subparsers,
        "doctor",
        summary="Report what this machine and each framework support, with reasons for what is missing.",
        example="unidl doctor\nunidl doctor --json > machine.json\nunidl doctor --measure --backend jax\n"
        "unidl launch -n 2 doctor --cluster",
        run=run,
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="measure instead: operations and bytes a second reached here, beside the data sheet; up to 30 s",
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="under `unidl launch`: the host, device, versions and clock of each rank, and how fast they sum tensors",
    )
    options.add_backend(parser)
    options.add_device(parser)
    options.add_json(parser)
    options.add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the survey. Return 0 if at least one backend can be used, else the exit code of `BackendError`."""
    if arguments.cluster:
        from unidl.cli.cluster import surveyed

        return surveyed(arguments)
    if arguments.measure:
        from unidl.cli.measuring import measured

        return measured(arguments)
    _refuse_without_measure(arguments)
    import json
    import sys
    from dataclasses import asdict

    from unidl.cli.console import plain_console
    from unidl.doctor.survey import survey
    from unidl.errors import BackendError

    found = survey()
    if arguments.json:
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        draw(found, plain_console())
    return 0 if found.usable else BackendError.exit_code


def _refuse_without_measure(arguments: argparse.Namespace) -> None:
    from unidl.errors import UsageError

    for name in ("backend", "device"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"Cannot use --{name} without --measure: `unidl doctor` reports on all. Leave it out.")


def draw(survey: Survey, console: Console) -> None:
    """Print the survey as text for a terminal of 80 columns."""
    automatic = survey.automatic
    choices = {"backend": automatic.backend, "device": automatic.device, "precision": automatic.precision}
    _section(console, "Machine", _pairs(_machine(survey)))
    if survey.frameworks:
        _section(console, "Frameworks", _framework_table(survey.frameworks))
    _section(console, "What 'auto' selects", _pairs({name: _choice(choice) for name, choice in choices.items()}))
    if survey.environment:
        _section(console, "Environment variables", _pairs(survey.environment))
    _section(console, "Advice", _grid(("  *", line) for line in survey.advice))


def _section(console: Console, title: str, content: Table) -> None:
    console.print(f"\n{title}", style="bold")
    console.print(content)


def _pairs(rows: Mapping[str, str]) -> Table:
    return _grid((f"  {name}", value) for name, value in rows.items())


def _grid(rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ("", "")) -> Table:
    """Return columns that wrap long text; rich's default truncates it."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(header))
    for title in header:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _framework_table(rows: Iterable[Framework]) -> Table:
    cells: list[tuple[str, ...]] = []
    for row in rows:
        seconds = row.answer.load_seconds
        took = "-" if seconds is None else f"{seconds:.1f} s"
        cells.append((f"  {row.name}", f"{row.framework} {row.version or ''}", took, "\n".join(_sees(row))))
    return _grid(cells, ("  backend", "framework", "import", "devices, or why none"))


def _sees(row: Framework) -> list[str]:
    answer = row.answer
    if not row.installed:
        return ["not installed"]
    if answer.why_not is not None:
        return [answer.why_not]
    lines = [_device(device) for device in answer.devices]
    if answer.why_no_gpu:
        lines.append(f"no GPU: {answer.why_no_gpu}")
    return [*lines, *answer.kernels_off]


def _device(device: Device) -> str:
    parts = [device.name] if device.name and device.kind == "gpu" else []
    if device.memory_bytes is not None:
        parts.append(_size(device.memory_bytes))
    return " ".join([device.id, ", ".join(parts)]).strip()


def _machine(survey: Survey) -> dict[str, str]:
    python, processor, memory = survey.python, survey.processor, survey.memory
    rows = {
        "unidl": f"{survey.unidl_version}, Keras {survey.keras_version or 'is not installed'}",
        "Python": f"{python.version} ({python.implementation}), {python.executable}",
        "platform": python.platform,
        "CPU": f"{processor.model or 'unknown'} ({processor.architecture})",
        "cores": ", ".join(
            f"{'unknown' if count is None else count} {kind}"
            for count, kind in (
                (processor.physical_cores, "physical"),
                (processor.logical_cores, "logical"),
                (processor.usable_cores, "usable by this process"),
            )
        ),
        "features": _features(processor.features),
        "memory": f"{_size(memory.total_bytes)}, {_size(memory.available_bytes)} available",
    }
    limits = []
    if survey.container.cpu_cores is not None:
        limits.append(f"{survey.container.cpu_cores:g} CPU cores")
    if survey.container.memory_bytes is not None:
        limits.append(f"{_size(survey.container.memory_bytes)} of memory")
    if limits:
        rows["container"] = f"limited to {' and '.join(limits)}"
    rows |= {f"GPU {gpu.index}": _gpu(gpu) for gpu in survey.gpus.found}
    if not survey.gpus.found:
        rows["GPUs"] = f"none: {survey.gpus.why_none}"
    return rows


def _features(features: Mapping[str, bool] | None) -> str:
    if features is None:
        return "unknown"
    there = ", ".join(name for name, present in features.items() if present) or "none detected"
    missing = ", ".join(name for name, present in features.items() if not present)
    return f"{there} (not {missing})" if missing else there


def _gpu(gpu: Gpu) -> str:
    capability = gpu.compute_capability
    cores = {True: "Tensor Cores", False: "no Tensor Cores", None: "Tensor Cores unknown"}[gpu.tensor_cores]
    parts = [
        gpu.name,
        "memory unknown" if gpu.memory_bytes is None else _size(gpu.memory_bytes),
        f"compute capability {f'{capability[0]}.{capability[1]}' if capability else 'unknown'}",
        cores,
        f"driver {gpu.driver_version or 'unknown'}",
    ]
    if gpu.power_limit_watts is not None:
        parts.append(f"limit {gpu.power_limit_watts:g} W")
    return ", ".join(parts)


def _choice(choice: Choice) -> str:
    text = f"{choice.value or 'nothing'}: {choice.reason}"
    return f"{text} (overridden by {choice.overridden_by})" if choice.overridden_by else text


def _size(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / 2**30:.1f} GiB"
