import os
import time

import pytest

from headwater.core.guarded_process import WorkError
from headwater.core.process_pool import CHUNK, in_order

LOST = "lost"


def name(case):
    if case.get("deadly"):
        os._exit(139)
    time.sleep(case.get("seconds", 0))
    return case["file"]


def broken(case):
    raise ZeroDivisionError(f"of {case['file']}")


def process_of(case):
    time.sleep(0.05)
    return os.getpid()


def lost(case):
    return LOST


def cases_of(many, *, deadly=()):
    return [{"file": str(number), "deadly": number in deadly} for number in range(many)]


@pytest.mark.parametrize("deadly", [{CHUNK - 1}, {0}, {3, 4, 5, CHUNK, 2 * CHUNK}])
def test_a_process_that_dies_costs_one_case(deadly):
    cases = cases_of(2 * CHUNK + 1, deadly=deadly)
    results = list(in_order(name, cases, lost=lost, workers=2))
    assert results == [LOST if case["deadly"] else case["file"] for case in cases]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_cases(workers):
    cases = [{"file": str(number), "seconds": 0.02 * (number % 3 == 0)} for number in range(20)]
    results = in_order(name, cases, lost=lost, workers=workers, chunk=3)
    assert list(results) == [str(number) for number in range(20)]


def test_no_cases_give_no_results():
    assert list(in_order(name, [], lost=lost, workers=2)) == []


def test_each_worker_is_a_process():
    numbers = set(in_order(process_of, cases_of(12), lost=lost, workers=2, chunk=1))
    assert len(numbers) == 2
    assert os.getpid() not in numbers


@pytest.mark.parametrize(("workers", "kind"), [(0, ZeroDivisionError), (1, WorkError)])
def test_an_error_of_the_work_is_raised(workers, kind):
    with pytest.raises(kind, match="of 0"):
        list(in_order(broken, cases_of(3), lost=lost, workers=workers))


def test_who_wants_no_more_results_waits_for_none():
    cases = [{"file": "quick"}, *({"file": "slow", "seconds": 300} for _ in range(4))]
    results = in_order(name, cases, lost=lost, workers=2, chunk=1)
    assert next(results) == "quick"
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 30
