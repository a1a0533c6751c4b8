from calling import call

from mixopt.proposal import Proposal


def test_propose_from_tables(tables, tmp_path):
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path / "out",
                "--upper", "web=0.55")  # fmt: skip
    said, first, *_ = printed.splitlines()
    assert "the decision is about the best run" in said  # on stderr
    assert first.startswith("> 99% likely to be better than the best seen mixture")
    proposal = Proposal.read(tmp_path / "out" / "proposal.json")
    assert 0.4 < proposal.ratios["web"] <= 0.55 + 1e-9
    assert "the best seen mixture" in printed
    assert "(best seen " in printed
    assert "the natural mixture" not in printed
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Data mixture for a" in page  # the table's name
    assert "0.55" in page  # the bound


def test_output_that_is_a_file(tables, tmp_path):
    (tmp_path / "file").write_text("x")
    printed = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path / "file", code=2
    )
    assert "cannot be written" in printed
    assert (tmp_path / "file").read_text() == "x"


RECIPE = """
natural: {web: 0.5, code: 0.5}
target: val_loss
upper: {web: 0.58}
no_worse: {than: natural, tolerance: 0.01, probability: 0.8}
budget:
  tokens: 1.0e12
  available_tokens: {web: 1.0e11}
  max_repetition: 6
error_laws:
  val_loss: {epsilon: 0.85, k: 2.1, gamma: 0.75}
"""


def test_a_config_sets_limits_budget_and_constraint(tables, tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", "-o", tmp_path)  # fmt: skip
    proposal = Proposal.read(tmp_path / "proposal.json")
    assert proposal.ratios["web"] <= 0.58 + 1e-9
    assert set(proposal.errors) == {"val_loss"}
    assert "error of val_loss" in printed
    assert proposal.ties is not None
    assert proposal.support.nearest in {str(i) for i in range(8)}


def test_nearest_to_the_natural_mixture_is_the_natural_mixture(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("natural: {web: 0.5, code: 0.5}\nmax_kl: 0\n")
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml")  # fmt: skip
    assert "the same as the natural mixture\n" in printed


def test_a_reference_given_by_its_ratios_is_compared_with(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("reference: {web: 0.9, code: 0.1}\nmaximise: chance\n")
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", "-o", tmp_path)  # fmt: skip
    assert "the given mixture" in printed
    proposal = Proposal.read(tmp_path / "proposal.json")
    assert [c.name for c in proposal.comparisons][-1] == "given"
    assert proposal.ratios["web"] < 0.8  # not the tiniest step away
