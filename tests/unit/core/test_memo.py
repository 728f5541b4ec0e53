"""Results that are kept by the identity of what they are about."""

from carillon_core.memo import ByIdentity


def test_a_function_is_called_once_for_the_same_objects() -> None:
    """Equal objects are others; what is no longer kept is computed again."""
    called: list[str] = []

    def joined(one: list[str], other: list[str] | None) -> str:
        called.append("".join([*one, *(other or [])]))
        return called[-1]

    kept = ByIdentity(joined, most=2)
    first, second = ["a"], ["a"]
    assert [kept(first, None), kept(first, None), kept(second, None)] == ["a", "a", "a"]
    assert len(called) == 2
    kept(first, None)
    kept(first, second)
    kept(first, None)
    assert len(called) == 3
    kept(second, None)
    assert len(called) == 4
