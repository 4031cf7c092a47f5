"""A pickle machine that builds plain data and runs nothing.

Python's own unpickler cannot be tamed by its `find_class` alone: BUILD sets attributes on whatever lies on the stack, the
memo's size is the file's choice, a nested key overflows the C stack. Here the standard library only splits the bytes into
opcodes. A global is a name and never an object; what may be called is on the caller's list, each entry with an inert
function that replaces it; an object of an unknown class becomes a `Record`.
"""

import pickletools
from collections.abc import Callable, Sized
from typing import Any, BinaryIO

from nspike_plugins._pickle_names import Constructors, Global, Record, checked_keys, not_callable, refuse_harmful
from nspike_plugins._reading import Refused

MAX_BYTES = 64 << 20
MAX_WORK = 2_000_000
"""Bound on the opcodes and on the items that calls copy, in all pickles of a file together."""

_MAX_INTEGER_BITS = 1024
_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8",
})  # fmt: skip


class Machine:
    """Runs one pickle after another from `file`.

    Parameters
    ----------
    file : where the opcodes are read from; it is left behind each pickle's STOP.
    constructors : what may be called.
    persistent : returns the object of a persistent id (a tuple).
    """

    def __init__(
        self, file: BinaryIO, constructors: Constructors, persistent: Callable[[tuple[Any, ...]], Any]
    ) -> None:
        self._file = _Bounded(file)
        self._constructors = constructors
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._work = 0

    def load(self) -> Any:
        """Build the next pickle's object. Raises Refused for what is not allowed, anything for what is damaged."""
        self._stack, self._marks, self._memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(self._file):
            self._charge(1)
            if opcode.name == "STOP":
                return self._stack.pop()
            if opcode.name in _VALUES:
                if type(argument) is int and argument.bit_length() > _MAX_INTEGER_BITS:
                    raise ValueError("an integer of thousands of digits")
                self._stack.append(argument)
                continue
            step = getattr(self, f"_op_{opcode.name}", None)
            if step is None:
                raise Refused(f"its pickle uses the instruction {opcode.name}, which torch.save never writes")
            step(argument)
        raise EOFError("a pickle without an end")

    def _charge(self, amount: int) -> None:
        self._work += amount
        if self._work > MAX_WORK:
            raise Refused(f"its pickle takes more than {MAX_WORK} steps to build; expected names and shapes alone")

    def _charge_copies(self, things: tuple[Any, ...]) -> None:
        """Charge for containers that a call may copy: one list, copied by each of a million calls, fills any memory."""
        for thing in things:
            if isinstance(thing, Sized):
                self._charge(len(thing) // 16 if isinstance(thing, str | bytes | bytearray) else len(thing))

    # constants

    def _op_PROTO(self, version: int) -> None:
        if version > 5:
            raise ValueError(f"pickle protocol {version}")

    def _op_FRAME(self, _: Any) -> None:
        pass

    def _op_NONE(self, _: Any) -> None:
        self._stack.append(None)

    def _op_NEWTRUE(self, _: Any) -> None:
        self._stack.append(True)

    def _op_NEWFALSE(self, _: Any) -> None:
        self._stack.append(False)

    # stack and memo

    def _op_MARK(self, _: Any) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _op_POP(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _op_POP_MARK(self, _: Any) -> None:
        self._to_mark()

    def _op_DUP(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _op_PUT(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _op_BINPUT = _op_LONG_BINPUT = _op_PUT

    def _op_MEMOIZE(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _op_GET(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _op_BINGET = _op_LONG_BINGET = _op_GET

    # containers

    def _op_EMPTY_TUPLE(self, _: Any) -> None:
        self._stack.append(())

    def _op_TUPLE(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append(tuple(items))

    def _op_TUPLE1(self, _: Any) -> None:
        self._stack.append((self._stack.pop(),))

    def _op_TUPLE2(self, _: Any) -> None:
        second, first = self._stack.pop(), self._stack.pop()
        self._stack.append((first, second))

    def _op_TUPLE3(self, _: Any) -> None:
        third, second, first = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append((first, second, third))

    def _op_EMPTY_LIST(self, _: Any) -> None:
        self._stack.append([])

    def _op_LIST(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append(items)

    def _op_APPEND(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _op_APPENDS(self, _: Any) -> None:
        self._extend(self._to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target = target.items
        if not isinstance(target, list):
            raise TypeError(f"appending to a {type(target).__name__}")
        target.extend(items)

    def _op_EMPTY_DICT(self, _: Any) -> None:
        self._stack.append({})

    def _op_DICT(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append({})
        self._update(items)

    def _op_SETITEM(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _op_SETITEMS(self, _: Any) -> None:
        self._update(self._to_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target = target.entries
        if not isinstance(target, dict):
            raise TypeError(f"setting an item of a {type(target).__name__}")
        target.update(zip(checked_keys(items[::2]), items[1::2], strict=True))

    def _op_EMPTY_SET(self, _: Any) -> None:
        self._stack.append(set())

    def _op_ADDITEMS(self, _: Any) -> None:
        items = self._to_mark()
        self._stack[-1].update(checked_keys(items))

    def _op_FROZENSET(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append(frozenset(checked_keys(items)))

    # globals and objects

    def _op_GLOBAL(self, argument: str) -> None:
        self._mention(*argument.split(" ", 1))

    def _op_STACK_GLOBAL(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._mention(module, name)

    def _mention(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError("the name of a global that is not text")
        mentioned = Global(module, name)
        refuse_harmful(mentioned)
        self._stack.append(mentioned)

    def _op_REDUCE(self, _: Any) -> None:
        args, target = self._stack.pop(), self._stack.pop()
        if not isinstance(target, Global) or target not in self._constructors:
            raise not_callable(target)
        self._make(target, args)

    def _op_NEWOBJ(self, _: Any) -> None:
        args, kind = self._stack.pop(), self._stack.pop()
        self._make(kind, args)

    def _op_NEWOBJ_EX(self, _: Any) -> None:
        _, args, kind = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._make(kind, args)

    def _op_OBJ(self, _: Any) -> None:
        kind, *args = self._to_mark()
        self._make(kind, tuple(args))

    def _op_INST(self, argument: str) -> None:
        args = tuple(self._to_mark())
        self._op_GLOBAL(argument)
        self._make(self._stack.pop(), args)

    def _make(self, kind: Any, args: Any) -> None:
        if not isinstance(kind, Global) or type(args) is not tuple:
            raise TypeError(f"a new object of a {type(kind).__name__}")
        self._charge_copies(args)
        make = self._constructors.get(kind)
        self._stack.append(make(*args) if make else Record(kind, args))

    def _op_BUILD(self, _: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Global):
            raise Refused(f"its pickle changes {str(target)!r} itself, as only an attack does; do not use this file")
        if isinstance(target, Record):
            for part in state if type(state) is tuple and len(state) == 2 else (state,):
                if isinstance(part, dict):
                    self._charge(len(part))
                    target.state.update(part)
        # else the attributes of a tensor or of an ordered dict, which say nothing about the weights

    def _op_BINPERSID(self, _: Any) -> None:
        identity = self._stack.pop()
        if type(identity) is not tuple:
            raise TypeError("a persistent id that is not a tuple")
        self._stack.append(self._persistent(identity))


class _Bounded:
    """A file that gives no more than `MAX_BYTES` in all, so that no length in a pickle can ask for more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_BYTES

    def read(self, count: int) -> bytes:
        return self._take(self._file.read(min(count, self._left + 1)))

    def readline(self) -> bytes:
        return self._take(self._file.readline(self._left + 1))

    def tell(self) -> int:
        return self._file.tell()

    def _take(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise Refused(f"its pickle is longer than {MAX_BYTES >> 20} MiB; expected names and shapes alone")
        return data
