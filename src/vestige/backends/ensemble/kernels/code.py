"""Writes the text of one compiled function: straight code, loops and variables, in LLVM's language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

Number = int | str


class Code:
    """A function under construction. Values are names such as ``%7``; addresses count bytes."""

    def __init__(self, name: str, parameters: Sequence[str], *, lanes: int) -> None:
        self.lanes = lanes
        self.vector = f"<{lanes} x float>"
        self._head = f"define void @{name}({', '.join(parameters)}) #0 {{\nentry:"
        self._variables: list[str] = []
        self._lines: list[str] = []
        self._names = 0

    def _fresh(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def let(self, expression: str) -> str:
        """Name the value of an expression."""
        name = f"%{self._fresh()}"
        self._lines.append(f"  {name} = {expression}")
        return name

    def do(self, statement: str) -> None:
        """Add a statement without a value."""
        self._lines.append(f"  {statement}")

    def add(self, left: Number, right: Number) -> Number:
        """Return a sum of whole numbers."""
        if isinstance(left, int) and isinstance(right, int):
            return left + right
        if 0 in (left, right):
            return right if left == 0 else left
        return self.let(f"add nsw i64 {left}, {right}")

    def times(self, left: Number, right: int) -> Number:
        """Return a product of whole numbers."""
        if isinstance(left, int):
            return left * right
        return left if right == 1 else self.let(f"mul nsw i64 {left}, {right}")

    def at(self, pointer: str, offset: Number) -> str:
        """Return the address ``offset`` bytes further."""
        return pointer if offset == 0 else self.let(f"getelementptr inbounds i8, ptr {pointer}, i64 {offset}")

    def variable(self, kind: str, start: Number) -> str:
        """Return room for a value that changes; the optimiser turns it into a register."""
        name = f"%{self._fresh()}"
        self._variables.append(f"  {name} = alloca {kind}")
        self.put(kind, start, name)
        return name

    def get(self, kind: str, pointer: str, *, align: int = 4) -> str:
        """Load."""
        return self.let(f"load {kind}, ptr {pointer}, align {align}")

    def put(self, kind: str, value: Number, pointer: str, *, align: int = 4) -> None:
        """Store."""
        self.do(f"store {kind} {value}, ptr {pointer}, align {align}")

    @contextmanager
    def loop(self, stop: Number, *, start: Number = 0, step: int = 1) -> Iterator[str]:
        """Repeat the block for start, start + step, … below ``stop``."""
        label = self._fresh()
        at = self.variable("i64", start)
        self.do(f"br label %{label}.test")
        self._lines.append(f"{label}.test:")
        index = self.get("i64", at)
        more = self.let(f"icmp slt i64 {index}, {stop}")
        self.do(f"br i1 {more}, label %{label}.body, label %{label}.end")
        self._lines.append(f"{label}.body:")
        yield index
        self.put("i64", self.let(f"add nsw i64 {index}, {step}"), at)
        self.do(f"br label %{label}.test")
        self._lines.append(f"{label}.end:")

    @contextmanager
    def each_bit(self, mask: str, bits: int) -> Iterator[str]:
        """Repeat the block for the place of every set bit of an integer, from the lowest; the place is an i64."""
        label, kind = self._fresh(), f"i{bits}"
        left = self.variable(kind, mask)
        self.do(f"br label %{label}.test")
        self._lines.append(f"{label}.test:")
        now = self.get(kind, left)
        more = self.let(f"icmp ne {kind} {now}, 0")
        self.do(f"br i1 {more}, label %{label}.body, label %{label}.end")
        self._lines.append(f"{label}.body:")
        place = self.let(f"call {kind} @llvm.cttz.{kind}({kind} {now}, i1 true)")
        yield place if bits == 64 else self.let(f"zext {kind} {place} to i64")
        self.put(kind, self.let(f"and {kind} {now}, {self.let(f'sub {kind} {now}, 1')}"), left)
        self.do(f"br label %{label}.test")
        self._lines.append(f"{label}.end:")

    def spread(self, pointer: str) -> str:
        """Return a vector whose every lane is the number at an address."""
        return self.filled(self.get("float", pointer))

    def filled(self, number: str) -> str:
        """Return a vector whose every lane is this number."""
        one = self.let(f"insertelement {self.vector} poison, float {number}, i32 0")
        return self.let(
            f"shufflevector {self.vector} {one}, {self.vector} poison, <{self.lanes} x i32> zeroinitializer"
        )

    def fma(self, left: str, right: str, term: str) -> str:
        """Return left * right + term, rounded once."""
        v = self.vector
        return self.let(f"call {v} @llvm.fma.v{self.lanes}f32({v} {left}, {v} {right}, {v} {term})")

    def whole(self, value: int, bits: int = 8) -> str:
        """Return a constant vector of whole numbers."""
        return "<" + ", ".join([f"i{bits} {value}"] * self.lanes) + ">"

    def first(self, lanes: int) -> str:
        """Return a constant mask of the first lanes."""
        return "<" + ", ".join(f"i1 {str(k < lanes).lower()}" for k in range(self.lanes)) + ">"

    def load(self, pointer: str, lanes: int) -> str:
        """Load a vector of which only the first ``lanes`` are there; the others are zero."""
        if lanes >= self.lanes:
            return self.get(self.vector, pointer)
        v, mask = self.vector, self.first(lanes)
        name = f"llvm.masked.load.v{self.lanes}f32.p0"
        return self.let(f"call {v} @{name}(ptr {pointer}, i32 4, <{self.lanes} x i1> {mask}, {v} zeroinitializer)")

    def store(self, value: str, pointer: str, lanes: int) -> None:
        """Store the first ``lanes`` of a vector."""
        if lanes >= self.lanes:
            self.put(self.vector, value, pointer)
            return
        name = f"llvm.masked.store.v{self.lanes}f32.p0"
        self.do(
            f"call void @{name}({self.vector} {value}, ptr {pointer}, i32 4, <{self.lanes} x i1> {self.first(lanes)})"
        )

    def text(self) -> str:
        """Return the function."""
        return "\n".join([self._head, *self._variables, *self._lines, "  ret void", "}"])


def declarations(lanes: int) -> str:
    """Return the declarations of what functions call, and their attributes."""
    v, m = f"<{lanes} x float>", f"<{lanes} x i1>"
    width = 32 * lanes
    lines = [
        f"declare {v} @llvm.fma.v{lanes}f32({v}, {v}, {v})",
        f"declare {v} @llvm.masked.load.v{lanes}f32.p0(ptr, i32, {m}, {v})",
        f"declare void @llvm.masked.store.v{lanes}f32.p0({v}, ptr, i32, {m})",
        *[f"declare i{b} @llvm.cttz.i{b}(i{b}, i1)" for b in (16, 32, 64)],
        f'attributes #0 = {{ nounwind "min-legal-vector-width"="{width}" "prefer-vector-width"="{width}" }}',
    ]
    return "\n".join(lines) + "\n"
