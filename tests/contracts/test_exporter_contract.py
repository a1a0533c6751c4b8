"""What every exporter must do, and formats of the user's own."""

from pathlib import Path

import pytest
from plans import BARE, OPTIONS, PATHS, PROPOSAL, SCHEDULE, proposal

import mixopt
from mixopt.errors import ExportError, InfeasibleError
from mixopt.exporters.check import check_config
from mixopt.exporters.export import FORMATS, export_phases, find_format
from mixopt.token_budget import Budget

PHASED = [name for name in FORMATS if find_format(name).phases]
MALFORMED = [
    "", "[]", "{}", "x", "{", "- 1", "a: b", "\0", "data: 3", "a: 2024-99-99",
    "datasets: [a, b]", "datasets:", "datasets: 3", "sources:", "sources: [3]", "data_stages:",
    "data: {train_weights: 3}", "data: {train_weights:}", "data: {train_weights: [3]}",
    "mix:", "mix: [a]", "mix: {a: {weight: x}}", '{"phases": null}', '{"train": null}',
    '{"train": 3}', "PROBABILITIES = {[]: 1}", "WEIGHTS = 3", "token_ratios: [1]",
    "train_loader: {dataset: {streams: [a]}}", "train_loader: {dataset: {streams: {a: 3}}}",
    "dataset: web", "dataset: {blend: 3}", "train-data: 3\ntrain-data-mix-weights: 4",
    "train-data-paths: [a]\ntrain-data-weights: [x]",
]  # fmt: skip
"""Texts that are a config of no format."""
NEEDS_NO_PATH = ["json", "llama-factory", "olmix", "yaml"]
DRAWS_DOCUMENTS = ["axolotl", "hf-datasets", "llama-factory", "mosaicml-streaming", "trl"]


def write(format, plan=PROPOSAL, **more):
    return mixopt.export(plan, format, paths=PATHS, **OPTIONS.get(format, {}) | more)


def check(format, text, plan=PROPOSAL, **more):
    return check_config(plan, format, text, paths=PATHS, options=OPTIONS.get(format, {}), **more)


@pytest.mark.parametrize("format", list(FORMATS))
def test_writes_whole_files_with_the_same_text(format, tmp_path):
    text = write(format, out=tmp_path / "deep" / "out")
    assert (tmp_path / "deep" / "out").read_text() == text
    assert text.endswith("\n")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("format", list(FORMATS))
def test_what_is_written_is_read_back(format):
    """And is the proposal: to the digits that are written, or to a document where those are counted."""
    (part,) = check(format, write(format))
    assert part.largest < (1e-4 if format == "axolotl" else 3e-6)
    assert sum(part.written.values()) == pytest.approx(1)
    assert part.written["law"] == 0
    assert not part.notes


@pytest.mark.parametrize("format", PHASED)
def test_phases_are_read_back(format):
    parts = check(format, write(format, SCHEDULE), SCHEDULE)
    assert [part.phase for part in parts] == ["stable", "anneal"]
    assert all(part.largest < 1e-6 for part in parts)
    with pytest.raises(ExportError, match="has 2 phases and the plan 1"):
        check(format, write(format, SCHEDULE))


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in PHASED])
def test_a_schedule_is_a_file_for_each_phase_where_one_holds_one(format, tmp_path):
    with pytest.raises(ExportError, match=r"put \{phase\} into the file name"):
        write(format, SCHEDULE)
    files = export_phases(
        SCHEDULE, format, paths=PATHS, out=tmp_path / "{phase}", **OPTIONS.get(format, {})
    )
    for file, phase in zip(files, SCHEDULE.phases, strict=True):
        (part,) = check(format, file.read_text(), phase.proposal)
        assert part.largest < 1e-3  # axolotl counts documents


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "axolotl"])
def test_an_edited_weight_is_reported(format):
    text = write(format)
    share = "0.8" if format in DRAWS_DOCUMENTS else "0.666666667"
    if format in ("json", "yaml", "olmix"):
        share = "0.666666667"
    assert share in text
    body = text.rindex(share) if format == "gpt-neox" else text.index(share, len(header(text)))
    edited = text[:body] + "0.1" + text[body + len(share) :]
    (part,) = check(format, edited)
    assert part.differences["web"] < -0.1
    assert part.differences["code"] > 0.1
    assert bool(part.notes) == find_format(format).sums_to_one


def header(text):
    """What stands before the data: comments, which hold the ratios too."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if line.startswith(("#", '"""')) or not line.strip()]
    return "".join(kept) if lines and lines[0].startswith(("#", '"""')) else ""


@pytest.mark.parametrize("format", list(FORMATS))
def test_malformed_configs_are_refused_in_one_sentence(format):
    faults = []
    for text in MALFORMED:
        try:
            check(format, text)
            faults.append(f"{text!r} is accepted")
        except ExportError as error:
            faults += [f"{text!r} is refused with {error!r}"] if "\n" in str(error) else []
        except Exception as error:
            faults.append(f"{text!r} raises {error!r}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("format", list(FORMATS))
def test_unknown_domains_and_options_are_named(format):
    with pytest.raises(ExportError, match="Did you mean 'web'"):
        mixopt.export(PROPOSAL, format, paths=PATHS | {"wb": "/d"}, **OPTIONS.get(format, {}))
    with pytest.raises(ExportError, match="has no option 'sead'"):
        write(format, sead=3)


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in NEEDS_NO_PATH])
def test_missing_path_is_named(format):
    with pytest.raises(ExportError, match="No path was given for domain 'code'"):
        mixopt.export(PROPOSAL, format, paths={"web": "/w"}, **OPTIONS.get(format, {}))


@pytest.mark.parametrize("format", DRAWS_DOCUMENTS)
def test_documents_need_their_length(format):
    plan = proposal({"web": 0.5, "code": 0.5, "law": 0.0}, tokens_per_document={"web": 100.0})
    with pytest.raises(ExportError, match="tokens per document of 'code' are not known"):
        write(format, plan)
    text = write(format, plan, tokens_per_document={"code": 200.0})
    assert text == write(format, proposal({"web": 0.5, "code": 0.5, "law": 0.0}))
    with pytest.raises(ExportError, match="Did you mean 'code'"):
        write(format, plan, tokens_per_document={"cde": 200.0})


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_budget_that_reads_too_often_is_refused(format):
    with pytest.raises(InfeasibleError, match=r"read 'code' 6\.00 times and at most 4"):
        write(format, budget_tokens=36_000_000)


def test_repetition_counts_over_the_whole_schedule():
    """Neither phase reads code more often than it may; both together do."""
    each = {"web": 0.0, "code": 1.0, "law": 0.0}
    phases = [mixopt.Phase(name, proposal(each, 5_000_000)) for name in ("a", "b")]
    plan = mixopt.Schedule(tuple(phases), {"code": 4.0})
    with pytest.raises(InfeasibleError, match=r"read 'code' 5\.00 times"):
        mixopt.export(plan, "json")
    with pytest.raises(InfeasibleError, match=r"read 'code' 5\.00 times"):
        export_phases(plan, "json", out="{phase}.json")


def test_phases_are_held_to_their_own_budgets_where_the_whole_run_has_none():
    """What is left to a phase after the others is less than what the whole run may read."""
    each = {"web": 0.0, "code": 1.0, "law": 0.0}
    left = mixopt.Budget(5_000_000, {"code": 2_000_000}, {"code": 2.5})
    phases = [mixopt.Phase(name, proposal(each, budget=left)) for name in ("a", "b")]
    mixopt.export(mixopt.Schedule(tuple(phases), {"code": 5.0}), "json")
    mixopt.export(mixopt.Schedule(tuple(phases)), "json")
    with pytest.raises(InfeasibleError, match=r"read 'code' 5\.00 times and at most 2\.5"):
        mixopt.export(mixopt.Schedule(tuple(phases)), "json", budget_tokens=20e6)


def test_limits_of_a_schedule_leave_those_of_its_phases_in_force():
    each = {"web": 0.5, "code": 0.5, "law": 0.0}
    once = mixopt.Budget(6_000_000, {"code": 1_000_000}, {"code": 1.0})
    phases = [mixopt.Phase(name, proposal(each, budget=once)) for name in ("a", "b")]
    with pytest.raises(InfeasibleError, match=r"read 'code' 3\.00 times and at most 1 "):
        mixopt.export(mixopt.Schedule(tuple(phases), {"web": 4.0}), "json")


def test_the_limit_of_a_schedule_of_one_phase_counts():
    free = mixopt.Budget(6_000_000, {"code": 2_000_000})
    plan = proposal({"web": 0.5, "code": 0.5, "law": 0.0}, budget=free)
    one = (mixopt.Phase("one", plan),)
    mixopt.export(mixopt.Schedule(one), "json")
    with pytest.raises(InfeasibleError, match=r"read 'code' 1\.50 times and at most 1 "):
        mixopt.export(mixopt.Schedule(one, {"code": 1.0}), "json")


def test_residues_of_an_optimiser_are_no_documents():
    plan = proposal(
        {"web": 1 - 1e-15, "code": 1e-15, "law": 0.0}, tokens_per_document={"web": 10.0}
    )
    for format in ("json", "mosaicml-streaming", "trl"):
        (part,) = check(format, write(format, plan), plan)
        assert part.written["web"] == 1


def test_repetition_stands_in_the_file():
    assert "# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00" in write("trl")
    assert "12,000,000 tokens read each: web 0.80, code 2.00" in write("trl", budget_tokens=12e6)


def test_names_of_domains_cannot_leave_their_comment():
    """Names come from tables of strangers, and some configs are programs."""
    bad = 'x\nimport os"""'
    plan = mixopt.Proposal(mixopt.Mixture({bad: 0.5, "b": 0.5}), mixopt.Estimate(0, 0), {},
                           tokens_per_document={bad: 1.0, "b": 1.0})  # fmt: skip
    for format in ("hf-datasets", "litdata", "torchtitan"):
        text = mixopt.export(plan, format, paths={bad: "/x", "b": "/b"})
        assert not any(line.startswith("import os") for line in text.splitlines())
        compile(text, format, "exec")


def test_unknown_format_is_named():
    with pytest.raises(ExportError, match="Did you mean 'megatron'"):
        mixopt.export(PROPOSAL, "megaton")


def test_pattern_needs_its_mark():
    with pytest.raises(ExportError, match=r"lacks \{domain\}"):
        mixopt.export(PROPOSAL, "megatron", paths="/data")


def test_two_domains_at_one_place_cannot_be_told_apart():
    with pytest.raises(ExportError, match="'web' and 'code' have one path"):
        mixopt.export(PROPOSAL, "megatron", paths={"web": "/d", "code": "/d"})


def test_a_path_that_is_no_domain_s_is_named():
    with pytest.raises(ExportError, match=r"draws from '/d/other', which is no domain's path"):
        check("megatron", "0.5 /d/other 0.5 /d/web_text_document")


def test_a_budget_that_is_not_known_is_asked_for():
    with pytest.raises(ExportError, match="the token budget is needed"):
        mixopt.export(BARE, "axolotl", paths="{domain}")
    phases = tuple(mixopt.Phase(name, BARE) for name in "ab")
    with pytest.raises(ExportError, match="Phase 'a' has no token budget"):
        mixopt.export(mixopt.Schedule(phases), "json")
    known = proposal(
        BARE.ratios, budget=Budget(1000), tokens_per_document={"web": 1.0, "code": 1.0}
    )
    with pytest.raises(ExportError, match="available tokens of 'web' are not known"):
        mixopt.export(known, "axolotl", paths="{domain}")


def test_a_domain_of_long_documents_is_not_rounded_away():
    """A thousandth of the tokens in books of 150,000 is three in ten million documents."""
    lengths = {"web": 50.0, "code": 150_000.0, "law": 50.0}
    plan = proposal({"web": 0.999, "code": 0.001, "law": 0.0}, 6_000, tokens_per_document=lengths)
    for format in DRAWS_DOCUMENTS:
        if format == "axolotl":
            continue  # counts whole documents, and has none of them here
        (part,) = check(format, write(format, plan), plan)
        assert part.written["code"] == pytest.approx(0.001, rel=1e-4), format


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_proposal_on_its_cap_is_written_and_checked_without_a_complaint(format):
    had = {"web": 10_000_000, "code": 10_000}
    plan = proposal({"web": 1 - 0.04 / 7, "code": 0.04 / 7, "law": 0.0},
                    budget=mixopt.Budget(7_000_000, had, {"web": 4.0, "code": 4.0}))  # fmt: skip
    (part,) = check(format, write(format, plan), plan)
    assert part.written["code"] * 700 == pytest.approx(4, rel=1e-2 if format == "axolotl" else 1e-5)


def test_an_option_that_was_never_written_is_no_option_to_check_with():
    with pytest.raises(ExportError, match="Did you mean 'packed'"):
        check_config(PROPOSAL, "mosaicml-streaming", "", paths=PATHS, options={"pakced": "true"})
    text = write("mosaicml-streaming", packed=True)
    (part,) = check("mosaicml-streaming", text)  # the file says itself that it is packed
    assert part.largest < 1e-6


def test_an_endless_budget_is_refused():
    with pytest.raises(ExportError, match="budget_tokens is inf"):
        write("axolotl", budget_tokens=float("inf"))


def test_wrong_types_are_named_with_what_to_give():
    for plan, format, options, message in [
        (3, "json", {}, "plan is 3; give a Proposal, a Schedule or ratios by domain"),
        ({"web": "much"}, "json", {}, "plan holds no ratios of domains; give domain: ratio"),
        ("proposal.json", "json", {}, r"plan is 'proposal.json'; give a Proposal"),
        (PROPOSAL, None, {}, "No export format is called None"),
        (PROPOSAL, "json", {"paths": 3}, "paths is 3; give a mapping of domains to paths"),
        (PROPOSAL, "json", {"paths": {"web": 3}}, "The path of 'web' is 3; give a path"),
        (PROPOSAL, "json", {"budget_tokens": "30e9"}, "budget_tokens is '30e9'; give a number"),
        (PROPOSAL, "trl", {"tokens_per_document": 3}, "give a mapping of domains to numbers"),
        (PROPOSAL, "trl", {"tokens_per_document": {"web": 0}}, "'web' is 0; give a number above"),
    ]:
        with pytest.raises(ExportError, match=message):
            mixopt.export(plan, format, **options)
    text = mixopt.export(PROPOSAL, "json", paths=Path("/d/{domain}"))
    assert text == mixopt.export(
        PROPOSAL, "json", paths={n: Path("/d") / n for n in PROPOSAL.ratios}
    )


def shout(request):
    return " ".join(f"{name.upper()}={ratio}" for name, ratio in request.ratios.items()) + "\n"


def wrong(request):
    return dict(request.ratios)


NOTHING = 3


def test_a_format_of_one_s_own():
    text = mixopt.export(PROPOSAL, "contracts.test_exporter_contract:shout")
    assert text == "WEB=0.666666667 CODE=0.333333333 LAW=0.0\n"
    with pytest.raises(ExportError, match="is no function"):
        mixopt.export(PROPOSAL, "contracts.test_exporter_contract:NOTHING")
    with pytest.raises(ExportError, match="returned dict; it must return text"):
        mixopt.export(PROPOSAL, "contracts.test_exporter_contract:wrong")
    with pytest.raises(ExportError, match="cannot be loaded"):
        mixopt.export(PROPOSAL, "contracts.test_exporter_contract:none")
    with pytest.raises(ExportError, match="cannot be read back"):
        check_config(PROPOSAL, "contracts.test_exporter_contract:shout", text)
