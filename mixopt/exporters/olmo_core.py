"""OLMo-core config (YAML): `sources`, each with name, `target_ratio`, `paths`, `max_repetition_ratio`.

The text is for `SourceMixtureList.from_dict`, inside a `SourceMixtureDatasetConfig`; a path may be a
glob, which OLMo-core expands where it holds a `*`. Ratios must sum to one. OLMo-core refuses a run that
reads a source more than `max_repetition_ratio` times. One file holds one phase.

Ratios: of tokens. Source: src/olmo_core/data/source_mixture.py at commit fa6c5014 (read);
ai2-olmo-core 3.0.0, whose `build()` the tests run.
"""

from mixopt.exporters.config_io import dig, dig_list, read_yaml, zip_weights
from mixopt.exporters.paths import expand_globs
from mixopt.exporters.repetition import find_most
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture, positive


def _write(request: ExportRequest) -> str:
    sources = []
    for domain, ratio in positive(request.ratios).items():
        source = {"source_name": domain, "target_ratio": ratio, "paths": _paths_of(request, domain)}
        most = find_most(request, domain)
        sources.append(source | ({"max_repetition_ratio": most} if most > 1 else {}))
    return request.to_yaml({"sources": sources})


def _paths_of(request: ExportRequest, domain: str) -> list[str]:
    """Return the paths of a domain, with those globs expanded that OLMo-core takes for names."""
    paths: list[str] = []
    for given in request.paths_of(domain):
        kept = "*" in given or "://" in given
        paths += [given] if kept else expand_globs([given], domain)
    return paths


def _read(text: str, _: Options) -> list[ParsedMixture]:
    sources = dig_list(read_yaml(text), "sources")
    names = [dig(source, "source_name") for source in sources]
    weights = [dig(source, "target_ratio") for source in sources]
    return [ParsedMixture(zip_weights(names, weights, "sources"))]


OLMO_CORE = ExportFormat(write=_write, read=_read, sums_to_one=True)
