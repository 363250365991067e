"""``python -m dalle sample CAPTION``, ``complete --image PICTURE CAPTION``, ``reconstruct PICTURE``: play with the
models of a results folder. ``verify RESULTS``: whether the folder still is what the experiment made. ``plan CONFIG``:
what an experiment costs. ``import-dvae ENCODER DECODER FOLDER``: OpenAI's dVAE as ours. ``keep NAME PARQUET``: small
pictures of a data set that is larger than the disk.
"""

# PYTHON_ARGCOMPLETE_OK
import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import argcomplete

if TYPE_CHECKING:
    from rich.console import Console

    from dalle.gallery import Tile
    from dalle.images import Picture
    from dalle.playing import Chosen, Models, Wish

CAPTION = '"a red ring above a blue square"'
EXAMPLES = {
    "sample": f"python -m dalle sample {CAPTION} -n 64 --best 8 --out grid.png",
    "complete": f"python -m dalle complete --image cat.png --keep 0.5 {CAPTION} --out completed.png",
    "reconstruct": "python -m dalle reconstruct photo.jpg another.png --out reconstructed.png",
    "verify": "python -m dalle verify results/scenes",
    "plan": "python -m dalle plan workflow/config/paper.yaml --chip V100 --gpus 1024 --mfu 0.3",
    "import-dvae": "python -m dalle import-dvae encoder.pkl decoder.pkl weights/dvae",
    "keep": "python -m dalle keep someone/photographs data/photographs.parquet --side 256 --pictures 100000",
}
MACHINE = 8  # GPUs of a machine, where nothing else is said and there are so many
CLUSTERS = (1, 8, 64)  # GPUs


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    about = "Plays with the models of a results folder; verifies it; plans experiments; brings OpenAI's dVAE and data."
    epilog = f"For example: {EXAMPLES['sample']}"
    commands = argparse.ArgumentParser("python -m dalle", description=about, epilog=epilog)
    chosen = commands.add_subparsers(dest="command", required=True, metavar="{" + ",".join(EXAMPLES) + "}")

    sample = _command(chosen, "sample", "draw pictures for captions and show the best")
    sample.add_argument("captions", nargs="+", metavar="CAPTION")
    _add_drawing(sample, num=64)
    _add_files(sample, "sampled.png")

    complete = _command(chosen, "complete", "keep the upper part of a picture and draw the rest")
    complete.add_argument("caption", metavar="CAPTION", help="what the whole picture should be")
    complete.add_argument("--image", type=Path, required=True, metavar="PICTURE", help="PNG, JPEG or WebP")
    complete.add_argument("--keep", type=float, default=0.5, metavar="SHARE", help="of it, from the top (default: 0.5)")
    _add_drawing(complete, num=16)
    _add_files(complete, "completed.png")

    reconstruct = _command(chosen, "reconstruct", "take pictures through the codes and show what is left")
    reconstruct.add_argument("images", type=Path, nargs="+", metavar="PICTURE", help="PNG, JPEG or WebP")
    _add_files(reconstruct, "reconstructed.png")

    _add_verify(
        _command(chosen, "verify", "say what was changed, is stale or is missing in a results folder; or compare two")
    )
    _add_plan(_command(chosen, "plan", "say what an experiment costs: parameters, FLOPs, memory, traffic, hours, disk"))
    imported = _command(chosen, "import-dvae", "write OpenAI's dVAE into a folder that dvae.weights can name")
    imported.add_argument("encoder", type=Path, metavar="ENCODER", help="encoder.pkl, as it was published")
    imported.add_argument("decoder", type=Path, metavar="DECODER", help="decoder.pkl")
    imported.add_argument("folder", type=Path, metavar="FOLDER", help="gets weights.safetensors and model.json")
    _add_keep(_command(chosen, "keep", "read a data set as a stream, once, and keep small pictures of it"))
    return commands


def _add_keep(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("name", metavar="NAME", help="a data set on the hub, or a folder of its files")
    add("parquet", type=Path, metavar="PARQUET", help="gets the pictures, with all other columns")
    add("--side", type=int, required=True, help="pixels of the shorter side; smaller pictures stay as they are")
    add("--pictures", type=int, metavar="N", help="how many are kept (default: all)")
    add("--split", default="train", help="of the data set (default: %(default)s)")
    add("--revision", metavar="COMMIT", help="of a data set on the hub (default: the newest)")


def _add_verify(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("results", type=Path, metavar="RESULTS", help="a finished run, results/EXPERIMENT")
    add("other", type=Path, nargs="?", metavar="OTHER", help="compare the tables with this run's")
    add("--configfile", type=Path, metavar="YAML", help="default: the experiment's in workflow/config")
    add("--back", metavar="FILE", help="show all jobs that a file below RESULTS follows from")


def _add_plan(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("config", type=Path, metavar="CONFIG", help="a file like those in workflow/config")
    add("--chip", default="H100", help="for example V100; an unknown one is answered with all (default: %(default)s)")
    add("--gpus", type=int, default=1, metavar="N", help="in all (default: %(default)s)")
    add(
        "--machine",
        type=int,
        metavar="N",
        help=f"GPUs of a machine, which share the weights (default: {MACHINE}, or all)",
    )
    add("--mfu", type=float, default=0.4, metavar="SHARE", help="of the chip's peak (default: %(default)s)")
    add(
        "--clusters",
        type=int,
        nargs="+",
        default=CLUSTERS,
        metavar="N",
        help="numbers of GPUs whose jobs, hours and load stand side by side (default: {} {} {})".format(*CLUSTERS),
    )


def _command(chosen: argparse._SubParsersAction, name: str, does: str) -> argparse.ArgumentParser:
    epilog = f"For example: {EXAMPLES[name]}"
    return chosen.add_parser(name, help=does, description=f"{does.capitalize()}.", epilog=epilog)


def _add_drawing(command: argparse.ArgumentParser, num: int) -> None:
    add = command.add_argument
    add("-n", type=int, default=num, metavar="N", help="candidates drawn a caption (default: %(default)s)")
    add("--best", type=int, metavar="N", help="how many of them are shown: the best by the reranker (default: 8)")
    add("--seed", type=int, default=0, help="the same seed and caption give the same pictures (default: %(default)s)")
    add("--temperature", type=float, default=1.0, metavar="T", help="logits are divided by it (default: %(default)s)")
    add("--top-k", type=int, metavar="K", help="draw among the K likeliest codes only")
    add("--top-p", type=float, metavar="P", help="draw among the likeliest codes of this joint probability only")
    add("--guidance", type=float, default=1.0, metavar="G", help="for priors that know empty captions; 1 is none")
    add("--truncate", action="store_true", help="cut a caption that is longer than the model reads")


def _add_files(command: argparse.ArgumentParser, out: str) -> None:
    add, experiment = command.add_argument, Path("results", "scenes")
    add("--results", type=Path, default=experiment, metavar="FOLDER", help="trained models (default: %(default)s)")
    add("--out", type=Path, default=Path(out), metavar="PNG", help="the sheet of pictures (default: %(default)s)")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 1 after a line, or a table, that says what is wrong."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    commands = parser()
    argcomplete.autocomplete(commands)  # in a shell that asks what could come next; else nothing
    asked = commands.parse_args(arguments)
    try:
        if asked.command == "verify":
            return 0 if verify(asked) else 1
        _check_numbers(asked)
        COMMANDS[asked.command](asked)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _check_numbers(asked: argparse.Namespace) -> None:
    """Raises ValueError for what can be seen to be wrong before anything is loaded."""
    given = vars(asked)
    if "out" in given and (asked.out.suffix.lower() != ".png" or asked.out.is_dir()):
        raise ValueError(f"--out {asked.out}: allowed is the name of a file that ends in .png")
    if any(not caption.strip() for caption in given.get("captions", [given.get("caption", "-")])):
        raise ValueError("a caption is empty: it must say what to draw")
    if "n" in given:
        asked.best = min(asked.n, 8) if asked.best is None else asked.best
        _check(asked.n >= 1, "-n", asked.n, "1 and more")
        _check(1 <= asked.best <= asked.n, "--best", asked.best, f"1 … {asked.n}, which are drawn")
        _check(asked.temperature > 0, "--temperature", asked.temperature, "numbers above 0")
        _check(asked.top_k is None or asked.top_k >= 1, "--top-k", asked.top_k, "1 and more")
        _check(asked.guidance >= 0, "--guidance", asked.guidance, "0 and more")
        _check(asked.top_p is None or 0 < asked.top_p <= 1, "--top-p", asked.top_p, "numbers above 0, up to 1")
    if "parquet" in given:
        _check(asked.side >= 1, "--side", asked.side, "1 and more")
        _check(asked.pictures is None or asked.pictures >= 1, "--pictures", asked.pictures, "1 and more")
    if "keep" in given:
        _check(0 < asked.keep < 1, "--keep", asked.keep, "shares above 0 and below 1")


def _check(is_allowed: bool, option: str, value: float | None, allowed: str) -> None:
    if not is_allowed:
        raise ValueError(f"{option} {value}: allowed are {allowed}")


def sample(asked: argparse.Namespace) -> None:
    """The best candidates of every caption: a sheet of them and a table of their scores."""
    from dalle.gallery import Section, write_gallery
    from dalle.playing import choose, draw, load_models, read_caption

    wish = _wish(asked)
    models = load_models(asked.results, wish.sampling)
    captions = {caption: read_caption(models, caption, asked.truncate) for caption in asked.captions}
    for caption in captions:
        _warn_of_caption(models, caption)
    with _drawing(len(captions) * wish.num * models.prior.shape.cells) as on_tokens:
        drawn = draw(models, captions, wish, on_tokens=on_tokens)
    chosen = [choose(models, caption, codes, wish.best) for caption, codes in drawn.items()]
    write_gallery([Section(best.caption, [_tiles(best)]) for best in chosen], asked.out)
    _print_scores(chosen)
    print(f"The best {wish.best} of {wish.num}: {asked.out}")


def complete(asked: argparse.Namespace) -> None:
    """A picture, what the codes make of it, and the best of the pictures that begin like it."""
    from dalle.gallery import Section, Tile, write_gallery
    from dalle.images import psnr
    from dalle.models.dvae import encode_pictures
    from dalle.playing import choose, draw, kept_rows, load_models, picture_side, read_caption, through_codes

    picture = _read_square(asked.image, picture_side(asked.results))
    wish, caption = _wish(asked), asked.caption
    models = load_models(asked.results, wish.sampling)
    tokens, grid = read_caption(models, caption, asked.truncate), models.prior.shape.grid
    _warn_of_caption(models, caption)
    rows = kept_rows(asked.keep, grid)
    given = encode_pictures(models.dvae, picture[None])[0, :rows].ravel()
    with _drawing(wish.num * (models.prior.shape.cells - len(given))) as on_tokens:
        codes = draw(models, {caption: tokens}, wish, given, on_tokens)[caption]
    chosen, through = choose(models, caption, codes, wish.best), through_codes(models.dvae, picture[None])
    (quality,) = psnr(through, picture[None])
    before = [Tile(picture, "the picture"), Tile(through[0], f"its codes, {quality:.1f} dB")]
    heading = f"{caption} ({rows} of {grid} rows are the picture's)"
    write_gallery([Section(heading, [before, _tiles(chosen)])], asked.out)
    _print_scores([chosen])
    print(f"The best {wish.best} of {wish.num}, which keep {rows} of {grid} rows of codes: {asked.out}")


def reconstruct(asked: argparse.Namespace) -> None:
    """Pictures over what the codes make of them."""
    import numpy as np

    from dalle.gallery import COLUMNS, Section, Tile, write_gallery
    from dalle.images import psnr
    from dalle.playing import load_codes, picture_side, through_codes

    side = picture_side(asked.results)
    pictures = np.stack([_read_square(path, side) for path in asked.images])
    through = through_codes(load_codes(asked.results), pictures)
    quality = psnr(through, pictures)
    above = [Tile(picture, path.name) for picture, path in zip(pictures, asked.images, strict=True)]
    below = [Tile(picture, f"{value:.1f} dB") for picture, value in zip(through, quality, strict=True)]
    starts = range(0, len(above), COLUMNS)
    rows = [tiles[start : start + COLUMNS] for start in starts for tiles in (above, below)]
    write_gallery([Section("", rows)], asked.out)
    for path, value in zip(asked.images, quality, strict=True):
        print(f"{value:5.1f} dB  {path}")
    print(f"Originals over reconstructions: {asked.out}")


def verify(asked: argparse.Namespace) -> bool:
    """Whether nothing was found wrong."""
    from dalle.verify.report import say_way_back, verify_one, verify_two

    console = _console(width=200)  # a line for each finding, however long
    if asked.other:
        return verify_two(asked.results, asked.other, console)
    if asked.back:
        return say_way_back(asked.results, asked.back, console)
    return verify_one(asked.results, asked.configfile, console)


def plan_costs(asked: argparse.Namespace) -> None:
    """The tables of the plan."""
    from dalle.plan.cluster import cluster_sections
    from dalle.plan.report import plan, show

    machine = min(MACHINE, asked.gpus) if asked.machine is None else asked.machine
    costs = plan(asked.config, asked.chip, asked.gpus, machine, asked.mfu)
    show(costs + cluster_sections(asked.config, asked.chip, asked.clusters, asked.mfu), _console())


def import_dvae(asked: argparse.Namespace) -> None:
    """OpenAI's weights as ours, and how many there are."""
    from dalle.models.dvae import load_dvae
    from dalle.models.import_dvae import import_published

    import_published(asked.encoder, asked.decoder, asked.folder)
    model = load_dvae(asked.folder)
    halves = (sum(parameter.numel() for parameter in half.parameters()) for half in (model.encoder, model.decoder))
    print("{:,} + {:,} parameters, {} codes: {}".format(*halves, model.num_codes, asked.folder))


def keep(asked: argparse.Namespace) -> None:
    """What was kept of a stream, and what could not be read."""
    from dalle.data.sources.arrow import keep_of_stream

    where = {"split": asked.split, "revision": asked.revision}
    counts = keep_of_stream(asked.name, asked.parquet, asked.side, asked.pictures, **where)
    print(", ".join(f"{num:,} {what}" for what, num in counts.items()) + f": {asked.parquet}")


COMMANDS = {
    "sample": sample,
    "complete": complete,
    "reconstruct": reconstruct,
    "plan": plan_costs,
    "import-dvae": import_dvae,
    "keep": keep,
}


def _wish(asked: argparse.Namespace) -> "Wish":
    from dalle.config.sampling import Sampling
    from dalle.playing import Wish

    names = ("temperature", "top_k", "top_p", "guidance")
    sampling = Sampling(**{name: getattr(asked, name) for name in names})
    return Wish(asked.n, asked.best, asked.seed, sampling)


def _warn_of_caption(models: "Models", caption: str) -> None:
    """Says what the models do not take as it was meant."""
    from dalle.prompts import encode_cut, num_tokens, strange_words

    context = models.prior.shape.text_context
    if num_tokens(models.words, caption) > context:
        (read,) = models.words.decode(encode_cut(models.words, [caption], context))
        _say(f"Warning: the caption is cut: {read.strip()}")
    if strange := strange_words(models.words, caption):
        _say(f"Warning: the tokenizer never learnt these words: {', '.join(strange)}")


def _read_square(path: Path, side: int) -> "Picture":
    from dalle.prompts import read_picture, square

    picture = read_picture(path)
    height, width, _ = picture.shape
    if (height, width) != (side, side):
        _say(f"{path}: the middle square of its {width} × {height} pixels is resized to {side} × {side}")
    return square(picture, side)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


@contextmanager
def _drawing(num_tokens: int) -> Iterator[Callable[[int], None]]:
    """Shows on a terminal how far drawing is, and says at the end how long it took. Called with each tokens drawn."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console, start, done = Console(stderr=True), perf_counter(), 0

    def rate() -> str:
        return f"{done / (perf_counter() - start):,.0f} tokens/s"

    def on_tokens(num: int) -> None:
        nonlocal done
        done += num
        shown.update(task, completed=done, rate=rate())

    columns = (TextColumn("draw"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("draw", total=num_tokens, rate="")
        yield on_tokens
    _say(f"{done:,} tokens drawn in {perf_counter() - start:.1f} s, {rate()}")


def _tiles(chosen: "Chosen") -> list["Tile"]:
    from dalle.gallery import Tile

    numbered = zip(chosen.pictures, chosen.scores, chosen.candidates, strict=True)
    return [Tile(picture, f"{score:.2f} (no. {number})") for picture, score, number in numbered]


def _print_scores(chosen: Sequence["Chosen"]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = _console()
    for best in chosen:
        shown = Table("score", "candidate", box=box.SIMPLE_HEAD, pad_edge=False)
        for score, number in zip(best.scores, best.candidates, strict=True):
            shown.add_row(f"{score:.2f}", f"{number}")
        console.print(Text(best.caption), shown)


def _console(width: int = 120) -> "Console":
    """As wide as the terminal; ``width`` where there is none."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


if __name__ == "__main__":
    sys.exit(main())
