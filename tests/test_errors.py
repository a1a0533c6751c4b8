import inspect

import mixopt.errors as errors


def test_every_error_is_in_the_drawn_tree_with_its_exit_code():
    tree = errors.__doc__
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if error.__module__ != errors.__name__:
            continue
        assert name in tree
        assert error.exit_code == (2 if issubclass(error, errors.UserError) else 1)


def test_did_you_mean():
    assert errors.did_you_mean("cod", ["code", "web"]) == "Did you mean 'code'?"
    assert errors.did_you_mean("zzz", ["code", "web"]) == "Known: code, web."
