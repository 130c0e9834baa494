from train.schedule import Schedule


def test_rate_rises_holds_and_falls_to_zero() -> None:
    schedule = Schedule(rows=1000, warmup_rows=100.0, decay=0.2)
    assert schedule.rate(0, 10) == 0.1
    assert schedule.rate(90, 100) == 1
    assert schedule.rate(500, 510) == 1
    assert schedule.rate(900, 910) == 0.5
    assert 0 < schedule.rate(990, 1000) <= 0.05


def test_penalty_rises_and_stays() -> None:
    schedule = Schedule(rows=1000, warmup_rows=100.0, decay=0.2)
    assert [schedule.penalty(rows) for rows in (50, 100, 1000)] == [0.5, 1, 1]


def test_nothing_rises_or_falls_where_no_share_is_set() -> None:
    schedule = Schedule(rows=10, warmup_rows=0.0, decay=0.0)
    assert schedule.rate(0, 1) == schedule.rate(9, 10) == 1
