"""Every error that unidl raises on purpose. Catch `UnidlError` to catch them all."""


class UnidlError(Exception):
    """Base class of all errors that unidl raises on purpose.

    The message says what was wrong, what is allowed, what arrived and what to do next.

    Attributes:
        exit_code (int): What the command line exits with. It is part of the public interface and does not change
            between versions.

    Examples:
        >>> import unidl
        >>> try:
        ...     unidl.load_data("no-such-data")
        ... except unidl.UnidlError as error:
        ...     print(type(error).__name__, error.exit_code)
        DataError 6
    """

    exit_code = 1


class UsageError(UnidlError, ValueError):
    """An argument or a setting has a value that cannot be used."""

    exit_code = 2


class BackendError(UnidlError):
    """A backend is unknown, not installed, cannot be loaded, or conflicts with the one already running."""

    exit_code = 3


class DeviceError(UnidlError):
    """The device that was asked for is not there."""

    exit_code = 4


class PrecisionError(UnidlError):
    """The device cannot compute in the precision that was asked for."""

    exit_code = 5


class DataError(UnidlError, ValueError):
    """Data is missing, unreadable or does not fit the model."""

    exit_code = 6


class ModelError(UnidlError, ValueError):
    """The model that was asked for cannot exist, or a model cannot be used this way."""

    exit_code = 7


class SavedModelError(UnidlError):
    """A saved model or run cannot be written, or is missing, damaged or not ours."""

    exit_code = 8


class TrainingError(UnidlError):
    """Training cannot go on: the loss became NaN or infinite."""

    exit_code = 9


class RankError(UnidlError):
    """A process of a run of several has failed, or cannot be reached: none of them can go on."""

    exit_code = 12


class ExportError(UnidlError):
    """An exported file differs from its model in what it computes, its names, its axes or its facts."""

    exit_code = 11
