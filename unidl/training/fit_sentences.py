"""What a run says of itself beside its progress, in sentences."""

from __future__ import annotations

from unidl.data.batch_stream import Stream
from unidl.data.dataset import Split
from unidl.errors import TrainingError
from unidl.training.run_saving import RunSaving


def of_short_epochs(steps: int | None, batches: int | None) -> str | None:
    """Say that the last epoch of a pass through the data has other steps than asked for, if it has."""
    if steps is None or batches is None or not (batches % steps or steps > batches):
        return None
    last = batches % steps if steps < batches else batches
    return f"of {batches} batches, epochs of {steps} steps: the one at the end has {last}"


def of_their_order(data: Split) -> str | None:
    """Say, of a run that goes on, that batches of others may not be those of before."""
    if not isinstance(data, Stream) or data.stream.numbered:
        return None
    return (
        f"{data.stream.what} gives batches in an order of its own: those that the run has taken are read and left out, "
        "and it goes on with the same as before only if the same come again"
    )


def out_of_memory(batch_size: int, saver: RunSaving | None) -> TrainingError:
    """Return the error of a run whose memory was not enough."""
    whole = saver.newest() if saver is not None else None
    kept = f"\nThe last checkpoint is whole; load_model reads its weights: {whole}" if whole else ""
    smaller = max(1, batch_size // 2)
    return TrainingError(
        f"Out of memory at batch_size={batch_size}.\nTry batch_size={smaller}, with "
        f"gradient_accumulation_steps=2 in the optimizer for the same result, or a mixed precision.{kept}"
    )
