from threadpoolctl import threadpool_info

from mixopt.surrogates.threads import single_threaded


def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_one_thread_inside_and_as_before_outside():
    before = threads()
    assert single_threaded(threads)() == {1}
    assert threads() == before
