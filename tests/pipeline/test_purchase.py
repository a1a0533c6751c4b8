from dataclasses import replace

from mixopt import Mixture
from mixopt.pipeline.purchase import Purchase


def test_a_run_says_what_it_reads_and_what_it_is_worth():
    purchase = Purchase(Mixture({"web": 0.6, "code": 0.397, "law": 0.003}), 2048, 1, 4096, 0.0404)
    assert purchase.describe() == (
        "train 60% web, 40% code for 2,048 tokens (seed 1, 4,096 with natural's run of that seed), "
        "expected to raise the gain by 0.040"
    )
    alone = replace(purchase, price=2048)
    assert "for 2,048 tokens (seed 1), expected" in alone.describe()


def test_a_run_of_hundreds_of_domains_is_named_by_its_largest():
    mixture = Mixture.uniform([f"d{number}" for number in range(300)])
    assert Purchase(mixture, 2048, 0, 2048, 0.1).describe().startswith("train 0.3% d0, 0.3% d1, ")
