"""`unidl generate`: generate text word by word with a saved language model."""

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
        summary="Generate text with a saved language model, such as one from `unidl train lstm`.",
        example='unidl generate runs/text --prompt "the value of" --words 60 --temperature 0.8 --top-k 40',
        run=run,
    )
    parser.add_argument(
        "run_directory", type=options.path, metavar="DIR", help="directory written by `unidl train` or Trainer.save"
    )
    options.add_trust(parser)
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="text to continue")
    parser.add_argument(
        "--words", type=whole, default=50, metavar="N", help="number of words to generate (default: 50)"
    )
    parser.add_argument(
        "--temperature",
        type=number_from_zero,
        default=1.0,
        metavar="X",
        help="sampling temperature; 0 always picks the most likely word (default: 1)",
    )
    parser.add_argument("--top-k", type=positive_whole, metavar="K", help="sample from the K most likely words")
    parser.add_argument(
        "--top-p", type=share, metavar="P", help="sample from the smallest set of words with total probability P"
    )
    options.add_backend(parser)
    options.add_device(parser)
    options.add_seed(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load the model and print each word as it is generated."""
    from unidl.generation import stream_text
    from unidl.models.records import record_of
    from unidl.runs.own_model import load_run

    model = load_run(arguments.run_directory, trust=arguments.trust)
    if record_of(model).architecture is None:
        model.compile()  # prediction needs no loss, and a custom loss is not saved
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
        sys.stdout.write("\n")  # also after Ctrl-C, so that later output starts on a new line
    return 0
