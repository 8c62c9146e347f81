"""The text of a certificate: lines and tables for the terminal and for Markdown."""

from __future__ import annotations

from unidl.agreement.certificate import Certificate, Check, Trial
from unidl.agreement.tolerance import COVERAGE, DEVIATIONS, ROUNDINGS, SAMPLES
from unidl.agreement.verdicts import OUTPUTS, Difference, of_layer, worst
from unidl.tables import Table

COLUMNS = (
    ("layers", OUTPUTS),
    ("loss", ("loss",)),
    ("gradients", ("gradient",)),
    ("weights", ("weight",)),
    ("losses", ("losses",)),
)
LAYER_COLUMNS = (("outputs", OUTPUTS), ("gradients", ("gradient",)), ("weights", ("weight",)))
LEGEND = (
    "A number is the largest error divided by its bound: rounding explains values up to 1. The bound: "
    f"{COVERAGE} times the deviation of the oracle in {SAMPLES} runs in which every weight and every layer's output is "
    f"perturbed by up to {ROUNDINGS} u + {DEVIATIONS} sqrt(n) v, with u the unit roundoff of the factors' dtype, v "
    f"that of "
    "float32, and sums of n terms; gradients are perturbed likewise for the positions they are summed over; plus the "
    "same "
    "amount for the last sum. 'agrees': within the bound of float32; 'agrees within the dtype': within that of the "
    "precision "
    "that was used."
)


def about(one: Certificate) -> list[str]:
    """Return what was verified, and against what."""
    lines = [
        f"{one.subject}: the model '{one.model}', {one.parameters:,} parameters, loss {one.loss}; {one.rows} rows, "
        f"{one.steps} steps, seed {one.seed}",
        f"oracle: {one.oracle} in float64 on the CPU{_confirmation(one.checks)}",
    ]
    if one.silenced:
        names = ", ".join(one.silenced)
        lines.append(f"run in inference mode, since Keras draws different random numbers on each backend: {names}")
    return lines


def trials(one: Certificate) -> Table:
    """Return a row for each trial, with the largest error of each kind as a fraction of its bound."""
    rows = [
        (trial.backend, trial.device, trial.precision, trial.implementation, *_shares(trial), trial.verdict())
        for trial in one.trials
    ]
    headings = ("backend", "device", "precision", "by", *(name for name, _ in COLUMNS), "verdict")
    return Table(headings, tuple(rows), tuple(not trial.agrees for trial in one.trials), names=4)


def layers(one: Certificate, trial: Trial) -> Table:
    """Return a row for each layer of a trial."""
    rows: list[tuple[str, ...]] = []
    bad: list[bool] = []
    for layer in one.layers:
        found = of_layer(trial.differences, layer.path)
        shares = (_share([one for one in found if one.kind in kinds]) for _, kinds in LAYER_COLUMNS)
        verdict = worst(found)
        rows.append((layer.path, layer.kind, *shares, verdict))
        bad.append(verdict == "disagrees")
    headings = ("layer", "kind", *(name for name, _ in LAYER_COLUMNS), "verdict")
    return Table(headings, tuple(rows), tuple(bad))


def remarks(one: Certificate) -> list[str]:
    """Return the faults and remedies, one per line."""
    lines: list[str] = []
    for trial in one.trials:
        if trial.failure is not None:
            lines.append(f"{trial}: failed: {trial.failure}")
            continue
        fault, cause = one.fault(trial), one.cause(trial)
        if fault is not None:
            kind = f" ({fault.layer.kind})" if fault.layer is not None else ""
            error = (
                f"{fault.difference.kind} off by {fault.difference.error:.2g}, bound {fault.difference.dtype_bound:.2g}"
            )
            lines.append(f"{trial}: first wrong at {fault.place}{kind}: {error}")
        if cause is not None:
            lines += [f"  likely: {cause[0]}", f"  remedy: {cause[1]}"]
    return lines


def verdict(one: Certificate) -> str:
    """Return the certificate in one line."""
    if one.agrees:
        return f"{one.subject}: all agree{'' if one.checks else ', but the oracle is unconfirmed'}"
    if one.checks and all(check.failure is not None for check in one.checks):
        return f"{one.subject}: not certified: every other framework failed in float64, so the oracle is unconfirmed"
    if one.checks and not any(check.agrees for check in one.checks):
        return f"{one.subject}: not certified: no two backends agree in float64, so there is no oracle"
    bad = sum(not trial.agrees for trial in one.trials)
    return f"{one.subject}: {bad} of {len(one.trials)} do not agree"


def _confirmation(checks: tuple[Check, ...]) -> str:
    if not checks:
        return "; not checked by a second framework, so faults that it also has in float64 are not detected"
    said: list[str] = []
    for check in checks:
        if check.failure is not None:
            said.append(f"{check.backend} failed in float64: {check.failure}")
        elif check.agrees:
            said.append(f"{check.backend} in float64 confirms it")
        else:
            first = next(one for one in check.differences if one.verdict == "disagrees")
            where = f"{first.kind} {first.place}".strip()
            said.append(f"{check.backend} in float64 does not agree, first at {where} by {first.error:.2g}")
    return "; " + "; ".join(said)


def _shares(trial: Trial) -> list[str]:
    return [_share([one for one in trial.differences if one.kind in kinds]) for _, kinds in COLUMNS]


def _share(found: list[Difference]) -> str:
    if not found:
        return ""
    share = max(one.share for one in found)
    return f"{share:.2f}" if share < 1000 else f"{share:.0e}"
