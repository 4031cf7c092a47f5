"""Signals held back: none is lost, none comes within, and the handlers are put back."""

import signal
import threading

import pytest

from nspike.runtime.held import held


@pytest.fixture(autouse=True)
def usual():
    """SIGINT is ignored where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_comes_at_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt), held():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert done == ["all"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_every_signal_with_a_handler_of_pythons():
    came = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in (10, 12)}
    try:
        handlers = [signal.getsignal(number) for number in before]
        with held():
            signal.raise_signal(12)
            signal.raise_signal(10)
            assert came == []
        assert came == [12, 10]
        assert [signal.getsignal(number) for number in before] == handlers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_error_within_is_behind_the_interrupt():
    with pytest.raises(KeyboardInterrupt) as caught, held():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError
    assert isinstance(caught.value.__context__, ValueError)


def test_one_within_another():
    with pytest.raises(KeyboardInterrupt), held():  # noqa: PT012
        with held():
            signal.raise_signal(signal.SIGINT)
        done = True
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads():
    ran = []

    def work():
        with held():
            ran.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.default_int_handler]
