"""`mixopt capability-text`: text about the subjects of benchmarks, as a smooth benchmark."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from mixopt.errors import require_extra
from mixopt.io.globs import anchor_glob

LARGEST_TOKENS = 1 << 26
"""Tokens that are searched of a larger corpus."""


@click.command("capability-text")
@click.argument("benchmarks", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--corpus", multiple=True, required=True, metavar="GLOB",
              help="Text files to search; repeat for more.")  # fmt: skip
@click.option("--field", default="text", show_default=True, help="Field that holds the text.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="JSONL to write; its benchmark is written beside it, as YAML.")  # fmt: skip
@click.option("--capability", help="Name of the capability.  [default: the first benchmark's]")
@click.option("--texts", default=200, show_default=True, type=click.IntRange(min=2),
              help="Passages to find.")  # fmt: skip
@click.option("--concepts", default=64, show_default=True, type=click.IntRange(min=1),
              help="Terms to search for.")  # fmt: skip
@click.option("--model", help="Folder of a model that generates a text on each concept.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0),
              help="Seed of random draws.")  # fmt: skip
def capability_text(
    benchmarks: Sequence[Path],
    corpus: Sequence[str],
    field: str,
    out: Path,
    capability: str | None,
    texts: int,
    concepts: int,
    model: str | None,
    seed: int,
) -> None:
    """Find text on the subjects of BENCHMARKS that contains none of their items.

    BENCHMARKS are YAML files, as in a study. The loss on such text is a smooth signal of the capability
    (SuperValid); exclude the text that is found from training.
    """
    require_extra("train")
    import yaml

    from mixopt.config.base import is_name
    from mixopt.config.loader import load_benchmark
    from mixopt.config.text import FilesTextConfig
    from mixopt.data.capability_text import collect_capability_text
    from mixopt.data.sources import read_documents
    from mixopt.data.text_sample import find_sample
    from mixopt.errors import OutputError
    from mixopt.evaluation.tasks.items import read_item_texts
    from mixopt.io.files import write_text
    from mixopt.io.parsing import show

    beside = out.with_suffix(".yaml")
    if out.suffix != ".jsonl":
        raise OutputError(
            f"{out} would not be read as JSONL; give another --out, which ends in .jsonl."
        )
    for path in (out, beside):
        if path.exists():
            raise OutputError(
                f"{path} exists already; give another --out (its benchmark is written beside it, as "
                ".yaml)."
            )
    configs = [load_benchmark(path) for path in benchmarks]
    name = capability or configs[0].capability
    if not is_name(f"{name}_text"):
        raise OutputError(
            f"--capability {show(name)} is no name of a study; give letters, digits, '_', '-' or ':'."
        )
    items = [text for config in configs for text in read_item_texts(config)]
    globs = [each if "://" in each else anchor_glob(each, Path.cwd()) for each in corpus]
    source = FilesTextConfig(paths=globs, field=field)
    sample = find_sample(source, LARGEST_TOKENS, seed)
    if sample is not None:
        click.echo(f"Corpus    a sample spread over it, about {LARGEST_TOKENS / 1e6:,.0f}M tokens")
    read = partial(read_documents, source) if sample is None else sample.read

    write = None
    if model is not None:
        from mixopt.data.tokenizer import load_tokenizer
        from mixopt.training.device import Device
        from mixopt.training.model_loading import load_model
        from mixopt.training.passage_writer import make_passage_writer

        device = Device.choose("auto", "auto")
        write = make_passage_writer(load_model(model, device), load_tokenizer(model), seed)
    result = collect_capability_text(items, lambda: (d.text for d in read()),
                                        texts=texts, concepts=concepts, write=write)  # fmt: skip
    rows = [{"id": i, "text": p.text, "concept": p.concept, "source": p.source}
            for i, p in enumerate(result.passages)]  # fmt: skip
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    benchmark = {"name": f"{name}_text", "kind": "bits_per_byte", "capability": name,
                 "text": {"kind": "files", "paths": [out.name]}}  # fmt: skip
    write_text(beside, yaml.safe_dump(benchmark, sort_keys=False))
    click.echo(
        f"Concepts  {', '.join(result.concepts[:8])}{', ...' if len(result.concepts) > 8 else ''}\n"
        f"Texts     {len(rows)} of {result.read:,} pieces; {result.refused} contained a benchmark item "
        f"and were refused\nWritten   {out}\nBenchmark {beside}"
    )
    if len(rows) < texts:
        click.echo(
            f"Fewer than the {texts} texts requested: the corpus has no more on these concepts."
        )
