"""Keeps results of pure functions of objects that cannot be hashed. Standard library only."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
MOST = 4096


class ByIdentity(Generic[_Arguments, _Result]):
    """Calls a function once for the same objects, which must not change; the last ``MOST`` results are kept."""

    def __init__(self, function: Callable[_Arguments, _Result], most: int = MOST) -> None:
        """Take the function and how many results are kept."""
        self._function = function
        self._most = most
        self._kept: OrderedDict[tuple[int, ...], tuple[tuple[object, ...], _Result]] = OrderedDict()
        """By the identities of the arguments. The arguments are kept, so that no other object can have these."""

    def __call__(self, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        """Return the result; arguments must be positional."""
        key = tuple(map(id, arguments))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        result = self._function(*arguments, **named)
        self._kept[key] = (arguments, result)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return result
