"""Limit linear algebra to one thread.

Thousands of small factorizations lose more to thread synchronization than they gain: on two cores,
a fit of 110 metrics to 500 runs took 12 times as long with OpenBLAS' default threads.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")


def single_threaded(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that BLAS uses one thread inside it.

    Args:
        function: Any function.

    Returns:
        The function with the same signature.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with threadpool_limits(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited
