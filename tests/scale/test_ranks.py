"""How the processes of a run agree, and what they say when one of them fails. Without it they wait for one another."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from unidl import registry
from unidl.errors import DataError, RankError, TrainingError, UsageError
from unidl.ranks import connecting
from unidl.ranks import exchange as module
from unidl.ranks.channel import Channel
from unidl.ranks.connecting import free_port
from unidl.ranks.environment import Member
from unidl.ranks.exchange import Ranks
from unidl.scale.alike import require_alike

registry.current()  # before Keras is imported, which would settle the backend by itself

import keras  # noqa: E402

from unidl.scale.identity import described  # noqa: E402

SIZE = 3


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ranks]]:
    """Three ranks in threads of this process, which is not to be ended."""
    monkeypatch.setattr(module.os, "_exit", lambda _: None)
    monkeypatch.setattr(module.atexit, "register", lambda _: None)
    monkeypatch.setattr(module, "HEARD_SECONDS", 5.0)
    monkeypatch.setattr(module.sys, "excepthook", module.sys.excepthook)
    port = free_port("127.0.0.1")
    found = [Ranks(Member(rank, SIZE, rank, "127.0.0.1", port, "a test")) for rank in range(SIZE)]
    on_all(found, lambda one: one.start())
    yield found
    for one in found:
        one.close()
        for channel in one._channels.values():
            channel.close()
        if one.ending is not None:
            one.ending.cancel()


def on_all(group: list[Ranks], action: Callable[[Ranks], Any]) -> list[Any]:
    """Call an action on each rank at the same time; an error is its result."""

    def called(one: Ranks) -> Any:
        try:
            return action(one)
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            return error

    with ThreadPoolExecutor(SIZE) as pool:
        return list(pool.map(called, group))


def test_every_rank_hears_what_each_has_said(group: list[Ranks]) -> None:
    assert on_all(group, lambda one: one.exchange("a test", one.rank * 10)) == [[0, 10, 20]] * SIZE


def test_rank_0_decides_where_the_ranks_disagree(group: list[Ranks]) -> None:
    assert on_all(group, lambda one: one.agreed("a test", ["pace", one.rank])) == [["pace", 0]] * SIZE


def test_different_data_is_an_error_on_every_rank_before_training(group: list[Ranks]) -> None:
    errors = on_all(group, lambda one: require_alike(one, {"data": {"x": {"rows": 7 if one.rank == 2 else 8}}}))
    said = "The data of rank 2 differs from that of rank 0: x, rows is 7 there, and 8 on rank 0"
    assert all(isinstance(error, UsageError) and said in str(error) for error in errors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"units": 3}, "weights"),
        ({"rate": 0.1}, "layers, layer drops, rate is 0.1 there, and 0.5 on rank 0"),
        ({"loss": "mean_absolute_error"}, 'compile, loss is "mean_absolute_error" there'),
        ({"momentum": 0.5}, "compile, optimizer, momentum is 0.5 there, and 0.0 on rank 0"),
        ({"metrics": ["mae"]}, 'compile, metrics is ["mae"] there, and null on rank 0'),
    ],
)
def test_another_model_is_an_error_that_names_what_differs(
    group: list[Ranks], change: dict[str, Any], said: str
) -> None:
    models = [model(), model(), model(**change)]
    errors = on_all(group, lambda one: require_alike(one, {"model": described(models[one.rank])}))
    assert all("The model of rank 2 differs from that of rank 0" in str(error) for error in errors), errors
    assert said in str(errors[0])


def model(
    units: int = 2, rate: float = 0.5, loss: str = "mse", momentum: float = 0.0, metrics: list[str] | None = None
) -> Any:
    dense, drops = keras.layers.Dense(units, name="dense"), keras.layers.Dropout(rate, name="drops")
    found: Any = keras.Sequential([keras.Input((4,), name="rows"), dense, drops], name="model")
    found.compile(keras.optimizers.SGD(momentum=momentum), loss, metrics=metrics)
    return found


def test_what_an_object_prints_of_its_place_in_memory_is_no_difference(group: list[Ranks]) -> None:
    assert (
        on_all(group, lambda one: require_alike(one, {"settings": {"of": object(), "array": [object()]}})) == [None] * 3
    )


def test_the_error_of_one_rank_is_raised_on_all(group: list[Ranks]) -> None:
    def work(one: Ranks) -> None:
        with one.telling():
            if one.rank == 1:
                raise DataError("row 3 is empty")
            one.exchange("a test", None)

    first, second, third = on_all(group, work)
    assert isinstance(second, DataError)
    for error in (first, third):
        assert isinstance(error, RankError)
        assert "rank 1 failed: row 3 is empty" in str(error)


def test_an_exchange_of_the_framework_that_fails_gives_way_to_the_reason(group: list[Ranks]) -> None:
    def work(one: Ranks) -> None:
        with one.telling():
            if one.rank == 1:
                raise DataError("row 3 is empty")
            raise TrainingError("a step failed") from OSError("connection reset by peer")

    first, _, third = on_all(group, work)
    for error in (first, third):
        assert isinstance(error, RankError), error
        assert "rank 1 failed: row 3 is empty" in str(error)


def test_a_rank_that_is_killed_is_named_by_the_others(group: list[Ranks]) -> None:
    def work(one: Ranks) -> None:
        with one.telling():
            if one.rank == 2:
                one._channels[0]._connection.shutdown(socket.SHUT_RDWR)  # as the kernel does when a process ends
            elif one.rank == 1:
                one.exchange("a test", None)
            else:
                raise OSError("connection reset by peer")

    first, second, _ = on_all(group, work)
    for error in (first, second):
        assert isinstance(error, RankError)
        assert "rank 2 ended without a word" in str(error)


def test_a_rank_that_ends_early_does_not_leave_the_others_waiting(group: list[Ranks]) -> None:
    def work(one: Ranks) -> Any:
        return one.close() if one.rank == 1 else one.exchange("a test", None)

    first, _, third = on_all(group, work)
    assert isinstance(first, RankError)
    assert isinstance(third, RankError)
    assert "rank 1 has ended" in str(first)


def test_a_process_of_another_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "JOIN_SECONDS", 2.0)
    port = free_port("127.0.0.1")
    zero = Ranks(Member(0, 2, 0, "127.0.0.1", port, "a test"))
    other = Ranks(Member(1, 5, 1, "127.0.0.1", port, "a test"))
    with ThreadPoolExecutor(2) as pool:
        accepted, refused = pool.submit(zero.start), pool.submit(other.start)
        with pytest.raises(RankError, match="cannot join"):
            refused.result()
        with pytest.raises(RankError, match="1 did not come"):
            accepted.result()


def test_a_rank_that_is_killed_while_others_still_join_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "_exit", lambda _: None)
    zero = Ranks(Member(0, SIZE, 0, "127.0.0.1", free_port("127.0.0.1"), "a test"))
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(zero.start)
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", zero._member.port))
                break
            except ConnectionRefusedError:
                continue
        killed = Channel(connection, 5.0)
        killed.send({"rank": 2, "size": SIZE})
        killed.close()
        with pytest.raises(RankError, match="rank 2 ended without a word"):
            joining.result()
    zero._channels[2].close()
    if zero.ending is not None:
        zero.ending.cancel()


def test_ranks_that_make_different_calls_are_an_error(group: list[Ranks]) -> None:
    errors = on_all(group, lambda one: one.exchange("predict" if one.rank == 2 else "the next steps", None))
    assert all(isinstance(error, RankError) and "rank 2 is at 'predict'" in str(error) for error in errors)
