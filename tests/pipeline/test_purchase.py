from dataclasses import replace

from mixopt import Mixture
from mixopt.decision import NATIVE
from mixopt.pipeline.purchase import Purchase, kind_of, pick_purchase


def test_a_run_says_what_it_reads_and_what_it_is_worth():
    purchase = Purchase(Mixture({"web": 0.6, "code": 0.397, "law": 0.003}), 2048, 1, 4096, 0.0404)
    assert purchase.describe() == (
        "train 60% web, 40% code for 2,048 tokens (seed 1, 4,096 with natural's run of that seed), "
        "expected to raise the gain by 0.040 sd of a benchmark"
    )
    alone = replace(purchase, price=2048)
    assert "for 2,048 tokens (seed 1), expected" in alone.describe()


def test_a_run_of_hundreds_of_domains_is_named_by_its_largest():
    mixture = Mixture.uniform([f"d{number}" for number in range(300)])
    assert Purchase(mixture, 2048, 0, 2048, 0.1).describe().startswith("train 0.3% d0, 0.3% d1, ")


def test_a_run_is_told_beside_the_best_of_another_kind_for_its_tokens():
    mixture = Mixture({"web": 0.6, "code": 0.4})
    options = [
        Purchase(mixture, 2048, 1, 2048, 0.02, "a further seed", NATIVE),
        Purchase(mixture, 8192, 0, 16_384, 0.05, "a longer run", NATIVE),
        Purchase(mixture, 2048, 0, 2048, 0.04, "another candidate", NATIVE),
        Purchase(mixture, 2048, 0, 2048, 0.03, "another candidate", NATIVE),
    ]
    place, chosen = pick_purchase(options)
    assert place == 2
    assert chosen.describe().endswith(
        "raise the gain by 0.040 of utility; a further seed of 60% web, 40% code by 0.020 for 2,048 "
        "tokens"
    )
    # of one kind, or worth nothing: there is no alternative
    assert pick_purchase(options[2:])[1].instead is None
    assert pick_purchase([options[2], replace(options[0], value=0.0)])[1].instead is None


def test_a_run_is_of_a_kind_by_those_that_its_mixture_has():
    kinds = [kind_of(2048, longest) for longest in (0, 1024, 2048, 8192)]
    assert kinds == ["another candidate", "a longer run", "a further seed", "a further seed"]
