"""Errors of the library on the command line: without this a person is told to pass arguments of a Python function."""

from __future__ import annotations

import pytest

from unidl.cli.main import build_parser
from unidl.cli.option_words import in_options


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Pass target=; there is no column 'x'.", "Pass --target; there is no column 'x'."),
        ("pass categories=['zip', 'year'] if they are words", "pass --categories zip,year if they are words"),
        ("or train with missing='mean', which", "or train with --missing mean, which"),
        ("Cannot use processes=True with workers=0: it", "Cannot use --processes with --workers 0: it"),
        ("Cannot use precompute_frozen=False.", "Cannot use --no-precompute-frozen."),
        ("the loss is large (learning_rate=0.5).", "the loss is large (--learning-rate 0.5)."),
    ],
)
def test_an_argument_is_read_as_its_option(said, read):
    assert in_options(said, build_parser().parse_args(["train"]).command_parser) == read


@pytest.mark.parametrize(
    "said",
    [
        "Cannot use optimizer=3 with stream=False.",  # which are no options
        "as in torch.utils.data.DataLoader(data, batch_size=32)",
        "Cannot read '/data/seed=1/epochs=2.csv' and 'target=3.csv'.",
        "Cannot use seed = 3: it must be a whole number.",
    ],
)
def test_what_is_no_option_stays_as_it_is(said):
    assert in_options(said, build_parser().parse_args(["train"]).command_parser) == said
