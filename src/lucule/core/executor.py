"""Work over many inputs: one small interface, three places to run.

One task is one movie, table or field. Paths go in and paths come out. A single task runs in this process, several run
in a pool of processes, and with an `address` they run on a dask cluster.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ParamSpec, Self, TypeVar

from lucule.core.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")


class Executor:
    """Runs tasks. Use it as a context manager; leaving it by an error forgets what has not begun."""

    def __init__(self, pool: futures.Executor) -> None:
        self._pool = pool

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start `function`; the returned future holds its result or its exception."""
        if not isinstance(self._pool, ProcessPoolExecutor):
            return self._pool.submit(function, *args, **kwargs)
        with _without_script(function):
            return self._pool.submit(function, *args, **kwargs)

    def map(self, function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        """Results in the order of `items`; the first exception is raised."""
        return [task.result() for task in [self.submit(function, item) for item in items]]

    def as_completed(self, tasks: Iterable[Future[T]]) -> Iterator[Future[T]]:
        """Futures in the order in which they finish."""
        return futures.as_completed(list(tasks))

    def cancel(self) -> None:
        """Forget tasks that have not begun and interrupt those that run."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(self._pool, ProcessPoolExecutor):
            for worker in multiprocessing.active_children():
                if worker.pid is not None:
                    os.kill(worker.pid, signal.SIGINT)

    def close(self) -> None:
        """Wait for running tasks and release the workers."""
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.cancel()
        self.close()


def executor(tasks: int, *, workers: int | None = None, address: str | None = None) -> Executor:
    """Choose where `tasks` tasks run.

    Parameters
    ----------
    workers
        Number of processes; by default one for each core, and never more than there are tasks.
    address
        Address of a dask scheduler, for example `tcp://head:8786` (needs the extra `cluster`).

    Examples
    --------
    >>> with executor(tasks=1) as here:
    ...     here.map(abs, [-1, 2])
    [1, 2]
    """
    if address is not None:
        return Executor(_dask(address))
    workers = min(tasks, workers or os.cpu_count() or 1)
    if workers <= 1:
        return Executor(_Here())
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),  # forking after threads have started can hang
        initializer=_prepare_worker,
        initargs=(max(1, (os.cpu_count() or 1) // workers),),
    )
    return Executor(pool)


@contextmanager
def _without_script(function: Callable[..., Any]) -> Iterator[None]:
    """While a process starts, hide the script of the user, so that the process does not run it.

    A spawned process imports the main module: without `if __name__ == "__main__"` a script would begin anew in every
    worker. All that tasks need is in modules that are imported by name; only a function of the script needs the script.
    """
    script = sys.modules["__main__"]
    if getattr(function, "__module__", None) != script.__name__:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Here(futures.Executor):
    """Runs each task at once, in this process."""

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        task: Future[T] = Future()
        try:
            task.set_result(function(*args, **kwargs))
        except Exception as error:  # as in every executor, the caller meets it in the future
            task.set_exception(error)
        return task


def _dask(address: str) -> futures.Executor:
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "A cluster address needs dask", received=address, next_step='pip install "lucule[cluster]"'
        ) from None
    pool: futures.Executor = Client(address).get_executor()
    return pool


def _prepare_worker(threads: int) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, lambda *_: sys.exit(1))  # leaves without printing a traceback
    # the cores are shared between the workers; the libraries read these when they are imported, later than this
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def _leave_with_parent() -> None:
    """End this process when the one that began it is gone: a worker of a killed process would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
