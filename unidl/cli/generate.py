"""`unidl generate`: text from a saved language model, word by word."""

from __future__ import annotations

import argparse
import json
import sys

from unidl.cli import options
from unidl.cli.numbers import number_from_zero, positive_whole, share, whole


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "generate",
        summary="Write text with a model that `unidl train lstm` trained.",
        example='unidl generate runs/text --prompt "the value of" --words 60 --temperature 0.8 --top-k 40',
        run=run,
    )
    parser.add_argument(
        "run_directory", type=options.path, metavar="DIR", help="what `unidl train` or Trainer.save wrote"
    )
    options.add_trust(parser)
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="the words to go on from")
    parser.add_argument("--words", type=whole, default=50, metavar="N", help="words to write (default: 50)")
    parser.add_argument(
        "--temperature",
        type=number_from_zero,
        default=1.0,
        metavar="X",
        help="0 is the likeliest word (default: 1)",
    )
    parser.add_argument("--top-k", type=positive_whole, metavar="K", help="draw from the K likeliest words")
    parser.add_argument(
        "--top-p", type=share, metavar="P", help="draw from the fewest words that together have probability P"
    )
    options.add_backend(parser)
    options.add_device(parser)
    options.add_seed(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load the model and write the words as they come."""
    from unidl.generation import stream_text
    from unidl.models.records import record_of
    from unidl.runs.own_model import load_run

    model = load_run(arguments.run_directory, trust=arguments.trust)
    if record_of(model).architecture is None:
        model.compile()  # a stranger's loss is not saved, and to predict none is needed
    pieces = stream_text(
        model,
        arguments.prompt,
        words=arguments.words,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    if arguments.json:
        print(json.dumps({"prompt": arguments.prompt, "text": "".join(pieces)}))
        return 0
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    finally:
        sys.stdout.write("\n")  # also after Ctrl-C, so that what follows has a line of its own
    return 0
