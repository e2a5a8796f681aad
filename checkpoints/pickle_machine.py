"""A pickle machine that builds data and runs nothing.

Python's unpickler calls whatever a file names. This one knows the opcodes, keeps names as inert `Global` values, and
hands every "call" to a table of builders; a name that is not in the table ends the reading. Nothing is imported, no
attribute is looked up, no object gets a state of its own choosing.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar, cast

from .errors import CheckpointError, ForbiddenPickleError, UnreadableFileError

MAX_OPCODES = 2_000_000
MAX_DEPTH = 1000
"""Of marks, that is of containers that are being built inside one another."""


@dataclass(frozen=True)
class Global:
    """A name in a pickle: `module.name`. Only a name; nothing was imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """What a pickle says about an object: the name of its class, the arguments, the state it was given."""

    cls: Global
    arguments: tuple[object, ...] = ()
    state: object = None
    keywords: Mapping[str, object] = field(default_factory=dict[str, object])


Builder = Callable[..., object]
"""Called with the arguments that a pickle gives to an allowed name. Raises ValueError or TypeError for wrong ones."""

PersistentLoad = Callable[[object], object]

_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
                       "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
                       "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
_MARK = object()


class Stateful:
    """An object of ours under construction that takes part of its value by a BUILD instruction."""

    def accept_state(self, state: object) -> None:
        raise NotImplementedError


def plain_key(value: object) -> Any:
    """The value if it may be a key: text, bytes, a number or nothing.

    A tuple may not: one that holds another twice, and so on, takes for ever to hash.
    """
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise ValueError(f"a {type(value).__name__} as the key of a dict or set")


class Machine:
    """One reading of one pickle.

    builders: allowed names and what to do when one is called. records: allowed names that become a `Record` of their
    arguments and state. persistent: resolves persistent ids (storages); None refuses them. nested: the pickle lies
    inside another one.
    """

    def __init__(self, *, builders: Mapping[str, Builder], records: frozenset[str] = frozenset(),
                 persistent: PersistentLoad | None = None, nested: bool = False, where: str = "The file") -> None:
        self.builders, self.records, self.persistent, self.where = dict(builders), records, persistent, where
        if nested:  # a stream inside a pickle holds a tensor, not further streams
            self.builders.pop("torch.storage._load_from_bytes", None)
        self.stack: list[object] = []
        self.depth = 0
        self.memo: dict[int, object] = {}

    def load(self, stream: IO[bytes]) -> object:
        """The object that the pickle at the stream's position describes; the stream is left behind its end.

        Raises ForbiddenPickleError for anything outside the tables, UnreadableFileError for a damaged pickle.
        """
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if count > MAX_OPCODES:
                    raise UnreadableFileError(f"{self.where} holds a pickle of more than {MAX_OPCODES} instructions; this "
                                              f"is no checkpoint.")
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, argument)
        except CheckpointError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, EOFError, RecursionError,
                UnicodeError) as error:
            raise UnreadableFileError(f"{self.where} holds a damaged pickle ({type(error).__name__}: {str(error)[:200]}); "
                                      f"download it again.") from error
        raise UnreadableFileError(f"{self.where} holds a pickle without an end; download it again.")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif handler := self._HANDLERS.get(name):
            handler(self, argument)
        else:
            raise ForbiddenPickleError(f"{self.where} uses the pickle instruction {name}, which no checkpoint needs; it "
                                       f"was not read further.")

    def _pop(self) -> object:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value belongs")
        return value

    def _top(self, kind: type) -> Any:
        if not self.stack or self.stack[-1] is _MARK or not isinstance(self.stack[-1], kind):
            raise ValueError(f"no {kind.__name__} where one belongs")
        return self.stack[-1]

    def _pop_mark(self) -> list[object]:
        """The values down to the last mark, which is removed."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                values = self.stack[i + 1:]
                del self.stack[i:]
                self.depth -= 1
                return values
        raise ValueError("a mark is missing")

    def _mark(self, _: object) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} containers inside one another")
        self.stack.append(_MARK)

    def _find(self, module: object, name: object) -> Global:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("the name of a class is no text")
        found = Global(module, name)
        if str(found) not in self.builders and str(found) not in self.records:
            raise ForbiddenPickleError(
                f"{self.where} names '{module[:60]}.{name[:60]}', which is not among the things a checkpoint may hold; "
                f"nothing of it was run. If you trust the file, save its weights as safetensors with the program that "
                f"made it.")
        return found

    def _call(self, function: object, arguments: object, keywords: object = None) -> object:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ForbiddenPickleError(f"{self.where} calls a value that is no class name; nothing of it was run.")
        arguments = cast("tuple[object, ...]", arguments)
        named = cast("dict[str, object]", keywords) if isinstance(keywords, dict) else {}
        if builder := self.builders.get(str(function)):
            return builder(*arguments, **named)
        return Record(function, arguments, keywords=named)

    def _build(self, _: object) -> None:
        state = self._pop()
        target = self._top(object)
        if isinstance(target, Record) and target.state is None:
            target.state = state
        elif isinstance(target, dict) and isinstance(state, dict):
            pass  # the attributes of a module's state dict (its _metadata), which is an OrderedDict with some; not needed
        elif isinstance(target, Stateful):
            target.accept_state(state)
        else:
            kind = type(cast(object, target)).__name__
            raise ForbiddenPickleError(f"{self.where} gives a state to a {kind}, which has none; it was "
                                       f"not read further.")

    def _set_items(self, pairs: list[object]) -> None:
        if len(pairs) % 2:
            raise ValueError("a key without a value")
        target = cast("dict[object, object]", self._top(dict))
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[plain_key(key)] = value

    def _dict_from_mark(self, _: object) -> None:
        pairs = self._pop_mark()
        self.stack.append(dict[object, object]())
        self._set_items(pairs)

    def _two(self) -> list[object]:
        value, key = self._pop(), self._pop()
        return [key, value]

    def _tuple(self, size: int) -> None:
        values = [self._pop() for _ in range(size)]
        self.stack.append(tuple(reversed(values)))

    def _global(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(self._find(module, name))

    def _stack_global(self, _: object) -> None:
        name, module = self._pop(), self._pop()
        self.stack.append(self._find(module, name))

    def _reduce(self, _: object) -> None:
        arguments, function = self._pop(), self._pop()
        self.stack.append(self._call(function, arguments))

    def _new_object_with_keywords(self, _: object) -> None:
        keywords, arguments, cls = self._pop(), self._pop(), self._pop()
        self.stack.append(self._call(cls, arguments, keywords))

    def _object(self, _: object) -> None:
        cls, *arguments = self._pop_mark()
        self.stack.append(self._call(cls, tuple(arguments)))

    def _instance(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(self._call(self._find(module, name), tuple(self._pop_mark())))

    def _persistent(self, identity: object) -> None:
        if self.persistent is None:
            raise ForbiddenPickleError(f"{self.where} refers to data outside of it, which a file of this kind has not.")
        self.stack.append(self.persistent(identity))

    def _add(self, values: list[object]) -> None:
        cast("set[object]", self._top(set)).update(map(plain_key, values))

    def _put(self, index: object) -> None:
        self.memo[len(self.memo) if index is None else int(cast(int, index))] = self._top(object)

    def _duplicate(self, _: object) -> None:
        value = self._pop()
        self.stack += [value, value]

    def _append(self, values: list[object]) -> None:
        cast("list[object]", self._top(list)).extend(values)

    _HANDLERS: ClassVar[dict[str, Callable[[Machine, Any], object]]] = {
        "PROTO": lambda m, a: None, "FRAME": lambda m, a: None,
        "MARK": _mark, "POP": lambda m, a: m._pop(), "POP_MARK": lambda m, a: m._pop_mark(),
        "DUP": _duplicate,
        "EMPTY_TUPLE": lambda m, a: m.stack.append(()), "EMPTY_LIST": lambda m, a: m.stack.append([]),
        "EMPTY_DICT": lambda m, a: m.stack.append({}), "EMPTY_SET": lambda m, a: m.stack.append(set[object]()),
        "TUPLE": lambda m, a: m.stack.append(tuple(m._pop_mark())), "TUPLE1": lambda m, a: m._tuple(1),
        "TUPLE2": lambda m, a: m._tuple(2), "TUPLE3": lambda m, a: m._tuple(3),
        "LIST": lambda m, a: m.stack.append(m._pop_mark()), "DICT": _dict_from_mark,
        "FROZENSET": lambda m, a: m.stack.append(frozenset(map(plain_key, m._pop_mark()))),
        "APPEND": lambda m, a: m._append([m._pop()]), "APPENDS": lambda m, a: m._append(m._pop_mark()),
        "SETITEM": lambda m, a: m._set_items(m._two()), "SETITEMS": lambda m, a: m._set_items(m._pop_mark()),
        "ADDITEMS": lambda m, a: m._add(m._pop_mark()),
        "GET": lambda m, a: m.stack.append(m.memo[int(a)]), "BINGET": lambda m, a: m.stack.append(m.memo[a]),
        "LONG_BINGET": lambda m, a: m.stack.append(m.memo[a]),
        "PUT": _put, "BINPUT": _put, "LONG_BINPUT": _put, "MEMOIZE": _put,
        "GLOBAL": _global, "STACK_GLOBAL": _stack_global, "REDUCE": _reduce,
        "NEWOBJ": _reduce, "NEWOBJ_EX": _new_object_with_keywords, "OBJ": _object,
        "INST": _instance, "BUILD": _build, "PERSID": _persistent,
        "BINPERSID": lambda m, a: m._persistent(m._pop()),
    }
