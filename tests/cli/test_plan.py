from calling import call


def test_a_plan_lists_trainings_and_trains_nothing(toy_folder):
    import toy

    path = toy.write_study(toy_folder, budget={"runs": 14, "longest": 2})
    output = toy_folder / "planned"
    printed = call("plan", path, "-o", output, "--device", "cpu")
    assert "3 experts" in printed
    assert "12,000 tokens" in printed
    assert "natural, 2 seeds" in printed
    assert "search.method: mergemix\n" in printed
    assert "3 unused seeds each of" not in printed  # more than half of what is left
    assert "confirmation: does not fit; it needs a budget of 60,000 tokens " in printed
    assert "The time is known after a first training of this study.\n" in printed
    assert not (output / "artifacts" / "base").exists()
    more = call("plan", path, "-o", output, "--device", "cpu", "--budget-tokens", 100_000)
    assert "confirmation: 3 unused seeds each of candidate and natural, " in more


def test_too_small_a_budget(toy_folder):
    import toy

    path = toy.write_study(toy_folder)
    printed = call("plan", path, "--budget-tokens", 9, code=2)
    assert "raise it to that or more" in printed
    assert printed.count("\n") == 1
