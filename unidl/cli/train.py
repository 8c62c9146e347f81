"""`unidl train`: train a built-in model or your own, on bundled data or your own."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unidl import registry
from unidl.cli import options
from unidl.cli.numbers import fraction, positive_number, positive_whole
from unidl.cli.reading import add_reading
from unidl.errors import UsageError
from unidl.model_function import model_function
from unidl.models import builders
from unidl.ranks.environment import is_restarted
from unidl.runs.configuration import RunConfiguration, require_meaning
from unidl.runs.kinds import RUN

if TYPE_CHECKING:
    from unidl.data import Dataset
    from unidl.training import Trainer

OWN_MODELS = """\
models of your own:
  model.py:build may take any of the arguments input_shape, classes,
  vocabulary_size, sequence_length and seed; their values come from the data.
  If it compiles the model, that configuration is kept, except where an option
  overrides it. A model that is not compiled is trained as a classifier if the
  data has classes.
  A saved model is the directory of a run, or a .keras file with --trust."""

STAGES = """\
stages of fine-tuning:
  --stages head:3,block5:5@1e-4,all:5@1e-5*0.9 trains the head of a transfer model,
  then block5 of the base and all behind it, then all of it. Each stage is
  PART:EPOCHS[@RATE][*DECAY][~WARMUP]: PART is head, all, or a layer or block; RATE
  the learning rate, times DECAY from layer to layer on the way to the inputs; WARMUP
  the epochs in which it rises from 0. With --config: stages = "head:3,..."."""

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
TERMINATED = 143
"""128 + SIGTERM."""


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "train",
        summary="Train a model and save the run to a directory.",
        example="""unidl train cnn
            unidl train lstm --backend tensorflow --data my.txt --epochs 5 --out runs/text
            unidl train transfer --base runs/cnn --data path/to/folder_of_class_folders
            unidl train transfer --base runs/cnn --data folder --stages head:3,all:5@1e-5*0.9
            unidl train tabular --data houses.csv --target price
            unidl train model.py:build --data my.npz --epochs 20 --learning-rate 0.001
            unidl train --resume runs/text --backend jax
            unidl train --config run.toml --epochs 3
            unidl train --config runs/text/run.json --out runs/again""",
        run=run,
    )
    parser.epilog = f"{OWN_MODELS}\n\n{STAGES}\n\n{parser.epilog}"
    parser.add_argument(
        "model",
        nargs="?",
        type=model_word,
        metavar="MODEL",
        help=f"{', '.join(builders.names())}; a function that returns a model, as model.py:build; or a saved model",
    )
    parser.add_argument(
        "--data",
        type=options.name_or_path,
        metavar="NAME",
        help="digits, mnist, ...; a text file, a table, an .npz file, or a folder with one subfolder of images, clips "
        "or texts per class (default: set by the model's recipe; none for a model of your own)",
    )
    add_reading(parser)
    _add_training(parser)
    _add_transfer(parser)
    _add_run(parser)
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_seed(parser, said=True)
    parser.add_argument(
        "--quiet", action="store_true", help="print only the test result, and warnings and errors on stderr"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line: start, each epoch, stop, result"
    )
    # None unless given on the command line, so that the file of --config can set it.
    parser.set_defaults(trust=None, quiet=None, json=None, prepare=from_file)


def _add_training(parser: argparse.ArgumentParser) -> None:
    """Add the training options that apply to every model."""
    parser.add_argument("--epochs", type=positive_whole, metavar="N", help="number of passes over the training data")
    parser.add_argument("--batch-size", type=positive_whole, metavar="N", help="rows per batch")
    parser.add_argument("--learning-rate", type=positive_number, metavar="X", help="initial learning rate")
    parser.add_argument("--schedule", choices=("constant", "cosine"), help="learning rate schedule")
    parser.add_argument("--clip-norm", type=positive_number, metavar="X", help="clip gradients to this global norm")
    parser.add_argument(
        "--accumulate",
        type=positive_whole,
        metavar="N",
        help="accumulate the gradients of N batches per optimizer step",
    )
    parser.add_argument(
        "--early-stopping",
        type=positive_whole,
        metavar="N",
        help="stop after N epochs without improvement of the loss on held-out training rows",
    )
    parser.add_argument("--dropout", type=fraction, metavar="X", help="share of units dropped (default: 0)")
    parser.add_argument(
        "--augment",
        metavar="STEPS",
        help="change images at random in training, as in flip,rotation=0.1,brightness=0.2; see `unidl preview --help`",
    )
    for name, paper in (("mixup", "Mixup, Zhang et al. 2018"), ("cutmix", "CutMix, Yun et al. 2019")):
        parser.add_argument(
            f"--{name}",
            type=positive_number,
            metavar="ALPHA",
            help=f"mix images of a batch and their labels, with shares from Beta(ALPHA, ALPHA) ({paper}); with both, "
            "each batch gets one of them",
        )


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    """Add the options of transfer learning."""
    parser.add_argument(
        "--base",
        type=options.name_or_path,
        metavar="NAME",
        help="transfer: base model; a saved run, a .keras file, a name in keras.applications or of a KerasHub preset, "
        "or a folder in the format of Hugging Face (default: VGG16)",
    )
    options.add_trust(parser)
    parser.add_argument(
        "--weights",
        type=options.name_or_path,
        metavar="NAME",
        help="transfer: weights of a keras.applications base; a file, or none (default: imagenet)",
    )
    parser.add_argument(
        "--precompute-frozen",
        action=argparse.BooleanOptionalAction,
        help="transfer: compute the features of the frozen base once instead of in every epoch; needs more memory",
    )
    parser.add_argument(
        "--feature-variants",
        type=positive_whole,
        metavar="N",
        help="transfer: with --augment, compute the features of N augmented variants of each image once; epochs take "
        "turns",
    )
    parser.add_argument(
        "--stages",
        metavar="STAGES",
        help="train in stages, each of which sets more of the model free, such as head:3,all:5@1e-5*0.9; see below",
    )
    parser.add_argument(
        "--lora-rank",
        type=positive_whole,
        metavar="N",
        help="transfer: let factors of this rank beside the kernels of the base learn, instead of the kernels",
    )
    parser.add_argument("--image-size", type=positive_whole, metavar="N", help="height and width that images get")


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options for saving and resuming."""
    parser.add_argument(
        "--out", type=options.path, metavar="DIR", help="output directory of the run (default: runs/MODEL)"
    )
    parser.add_argument(
        "--save-every-steps",
        type=positive_whole,
        metavar="N",
        help="write a checkpoint every N steps and after each epoch; the newest two are kept",
    )
    parser.add_argument(
        "--resume",
        type=options.path,
        metavar="DIR",
        help="resume a run from its newest checkpoint with its original options, on any backend",
    )
    parser.add_argument(
        "--plot", action=argparse.BooleanOptionalAction, help="draw the curves as curves.png, with matplotlib"
    )
    parser.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        help="write report.html into the run, on the test rows: which classes are taken for which, how sure it is, "
        "and its most confident mistakes",
    )
    parser.add_argument(
        "--config",
        type=options.path,
        metavar="FILE",
        help="read options from a TOML file or the run.json of a run; options on the command line take precedence; "
        "keys are option names with underscores",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start a run, or resume one."""
    if arguments.resume is not None:
        return _resume(arguments)
    if arguments.model is None:
        raise UsageError(
            f"No model given. Pass one of {', '.join(builders.names())}; a function such as model.py:build; or "
            "--resume with the directory of a run."
        )
    asked = {name: getattr(arguments, name) for name in RUN}
    require_meaning(asked | {"trust": arguments.trust})
    out = arguments.out or _place(arguments.model)
    if asked["save_every_steps"] is not None and is_restarted():
        from unidl.runs.resuming import begun_configuration, has_begun

        if has_begun(out):  # a launcher has started the same command again
            arguments.resume = out
            return _train(arguments, out, begun_configuration(out))
    return _train(arguments, out, RunConfiguration.of(**asked))


def from_file(arguments: argparse.Namespace) -> None:
    """Fill options that are not on the command line from the file of --config."""
    if arguments.config is None:
        return
    if arguments.resume is not None:
        raise UsageError("Cannot use --config with --resume: a resumed run keeps its original options. Leave it out.")
    from unidl.runs.files import read_options

    words = {
        "model": model_word,
        **dict.fromkeys(("data", "base", "weights"), options.name_or_path),
        "out": options.path,
    }
    for name, value in read_options(arguments.config).items():
        if getattr(arguments, name) is not None:
            continue
        try:
            setattr(arguments, name, words[name](value) if name in words else value)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"Cannot use {name} = {value!r} in {arguments.config}: {error}.") from error


def model_word(word: str) -> str:
    """A model on the command line."""
    word = options.name_or_path(word)
    path = Path(word)
    if word in builders.names() or model_function(word) is not None or path.is_dir() or path.suffix == ".keras":
        return word
    raise argparse.ArgumentTypeError(
        f"{word!r} is neither one of {', '.join(builders.names())}, nor a function such as model.py:build, nor a "
        "saved model"
    )


def _place(model: str) -> Path:
    """Return the default output directory of a run."""
    function = model_function(model)
    if model not in builders.names() and function is None:
        raise UsageError(f"Pass --out to choose an output directory: training does not overwrite {model}.")
    return Path("runs") / (model if function is None else function.file.stem)


def _resume(arguments: argparse.Namespace) -> int:
    """Resume the run in a directory with its original options."""
    from unidl.runs.resuming import begun_configuration

    for name in (*RUN, "out"):
        if getattr(arguments, name) is not None and name != "epochs":
            option = "a model" if name == "model" else f"--{name.replace('_', '-')}"
            raise UsageError(
                f"Cannot use {option} with --resume: a resumed run keeps its original options. Leave it out."
            )
    configuration = begun_configuration(arguments.resume, arguments.epochs)
    registry.expect(configuration.model)
    return _train(arguments, arguments.resume, configuration)


def _train(arguments: argparse.Namespace, out: Path, configuration: RunConfiguration) -> int:
    """Train, save, and evaluate on the test set."""
    from unidl.runs.training import prepare

    with contextlib.redirect_stdout(sys.stderr):  # Keras reports downloads on stdout
        ready = prepare(configuration, out, trust=bool(arguments.trust), resume=arguments.resume is not None)
    finished = ready.fit(progress="json" if arguments.json else "quiet" if arguments.quiet else "auto")
    trainer = finished.trainer
    if trainer.interrupted:
        resumable = configuration.save_every_steps is not None
        return TERMINATED if resumable and trainer.signal == signal.SIGTERM else INTERRUPTED
    _report(trainer, finished.data, out, arguments)
    return 0


def _report(trainer: Trainer, data: Dataset, out: Path, arguments: argparse.Namespace) -> None:
    from unidl.cli.evaluate import describe_metrics, test_results
    from unidl.ranks.joining import is_first

    results = test_results(trainer, data.test, None)
    if not is_first():
        return
    if arguments.json:
        print(json.dumps({"event": "result", "test": results, "rows": len(data.test), "out": str(out)}))
        return
    print(f"test: {describe_metrics(results)} on {len(data.test):,} rows")
    if arguments.quiet:
        return
    from unidl.models.records import record_of

    follow = f"evaluate {out}"
    if data.kind == "text" and data.class_names:
        follow = f'predict {out} "how to split a string into words"'
    elif data.kind == "text":
        follow = f'generate {out} --prompt "the value of"'
    elif data.kind == "table":
        follow = f"predict {out} --data new_rows.csv"
    elif data.kind == "images":
        follow = f"predict {out} image.png"
    if record_of(trainer.model).architecture is None:
        follow += " --trust"  # a base that no unidl builder made is saved as Keras's own description
    print(f"saved to {out}; next: unidl {follow}")
