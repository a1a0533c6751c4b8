"""Limit linear algebra to one thread.

Thousands of small factorizations lose more to thread synchronization than they gain: on two cores,
a fit of 110 metrics to 500 runs took 12 times as long with OpenBLAS' default threads.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

Function = TypeVar("Function", bound=Callable[..., Any])


def single_threaded(function: Function) -> Function:
    """Return a function of the same signature inside which BLAS uses one thread.

    Args:
        function: Any function.
    """
    limited: Function = threadpool_limits.wrap(limits=1, user_api="blas")(function)
    return limited
