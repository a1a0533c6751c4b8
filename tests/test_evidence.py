from mixopt.evidence import PairedNoise, describe_ranges


def test_noise_says_whether_it_was_measured():
    assert PairedNoise(0.1, 1).describe("of utility") == (
        "the difference of two mixtures trained with one seed has a noise of 0.100 of utility "
        "(measured by 1 repeated run with other seeds)"
    )
    usual = PairedNoise(0.1, 0).describe("of utility")
    assert usual.endswith("(as is usual: no mixture was trained with two seeds)")


def test_of_many_domains_the_widest_ranges_are_named():
    ranges = {f"d{i}": (0.1, 0.1 + i / 100) for i in range(6)}
    assert describe_ranges(ranges) == (
        "over resampled items the best ensemble has d5 between 10% and 15%, d4 between 10% and 14%, d3 "
        "between 10% and 13%, d2 between 10% and 12% and 2 more domains in narrower ranges (10% to 90%)"
    )
