"""The compiled functions of one shape, called with tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import torch

from vestige.backends.ensemble.kernels import answering, backward, forward
from vestige.backends.ensemble.kernels.building import Function, compiled
from vestige.backends.ensemble.kernels.crews import crew, spread
from vestige.backends.ensemble.kernels.shapes import FLOAT, KERNEL, Shape

# Vectors are read whole at the end of what there is.
SLACK = 64
# Gradients of single images that lie side by side before they are measured: as many as leave them in the caches.
APIECE = 32


@dataclass(frozen=True, eq=False)
class Pooled:
    """A convolution of 3 x 3 with ReLU and pooling. Images are (N, height, width, channels) and contiguous."""

    shape: Shape

    @cached_property
    def _forward(self) -> Function:
        return compiled(forward.forward(self.shape), "forward", 8, lanes=self.shape.lanes)

    @cached_property
    def _uncoded(self) -> Function:
        return compiled(forward.forward(self.shape, coded=False), "forward", 8, lanes=self.shape.lanes)

    @cached_property
    def _answering(self) -> Function:
        return compiled(answering.answering(self.shape), "answering", 7, lanes=self.shape.lanes)

    @cached_property
    def _weights(self) -> Function:
        return compiled(backward.weights(self.shape), "weights", 9, lanes=self.shape.lanes)

    @cached_property
    def _inputs(self) -> Function:
        return compiled(backward.inputs(self.shape), "inputs", 6, lanes=self.shape.lanes)

    def room(self, images: int) -> torch.Tensor:
        """Return zeros for so many padded images."""
        return torch.zeros(images * self._padded + SLACK)

    @property
    def _padded(self) -> int:
        return self.shape.padded[0] * self.shape.padded[1] * self.shape.depth

    @property
    def _answers(self) -> int:
        return self.shape.windows[0] * self.shape.windows[1] * self.shape.filters

    def forward(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, room: torch.Tensor, *, train: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the maxima (N, rows, columns, filters) and their codes; pads the images into ``room``.

        When answers alone are wanted, there may be no codes.

        ``room`` has place for all the images when training, which the gradients need, else for one per thread.
        """
        if not train and answering.fits(self.shape):
            return self._answers_to(x, weight, bias, room), torch.empty(0, dtype=torch.uint8)
        s, images, compute = self.shape, len(x), self._forward if train else self._uncoded
        packed = weight.new_zeros(s.depth, KERNEL, KERNEL, s.wide)
        packed[..., : s.filters].copy_(weight.permute(1, 2, 3, 0))
        biases = weight.new_zeros(s.wide)
        if bias is not None:
            biases[: s.filters] = bias
        y = x.new_empty(images, *s.windows, s.filters)
        codes = torch.empty(y.numel() + SLACK if train else 0, dtype=torch.uint8)

        def work(part: int, start: int, stop: int) -> None:
            compute(
                x.data_ptr() + start * x.stride(0) * FLOAT,
                packed.data_ptr(),
                biases.data_ptr(),
                room.data_ptr() + (start if train else part) * self._padded * FLOAT,
                self._padded * FLOAT if train else 0,
                y.data_ptr() + start * self._answers * FLOAT,
                codes.data_ptr() + start * self._answers,
                stop - start,
            )

        spread(images, work)
        return y, codes

    def _answers_to(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, room: torch.Tensor
    ) -> torch.Tensor:
        s, images, compute = self.shape, len(x), self._answering
        filters = weight.new_zeros(answering.SPOTS, s.depth, s.wide)
        own = weight.permute(2, 3, 1, 0).reshape(KERNEL * KERNEL, -1)
        filters[..., : s.filters] = (_turning() @ own).view(answering.SPOTS, s.depth, s.filters)
        biases = weight.new_zeros(s.wide)
        if bias is not None:
            biases[: s.filters] = bias
        y = x.new_empty(images, *s.windows, s.filters)
        scratch = x.new_empty(crew(images), answering.scratch(s))

        def work(part: int, start: int, stop: int) -> None:
            compute(
                x.data_ptr() + start * x.stride(0) * FLOAT,
                filters.data_ptr(),
                biases.data_ptr(),
                room.data_ptr() + part * self._padded * FLOAT,
                scratch[part].data_ptr(),
                y.data_ptr() + start * self._answers * FLOAT,
                stop - start,
            )

        spread(images, work)
        return y

    def weights(self, room: torch.Tensor, grad: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gradients of the filters, (filters, depth, 3, 3) channel by channel, and of the bias."""
        s, parts, compute = self.shape, crew(len(grad)), self._weights
        shallow = s.depth <= backward.SHALLOW
        size = (KERNEL, KERNEL, s.depth, s.wide) if shallow else (s.filters, KERNEL, KERNEL, s.depth)
        sums, biases = grad.new_zeros(parts, *size), grad.new_zeros(parts, s.wide)
        lists = grad.new_empty(parts, 2 * s.windows[0] * s.windows[1] * s.wide)

        def work(part: int, start: int, stop: int) -> None:
            compute(
                room.data_ptr() + start * self._padded * FLOAT,
                self._padded * FLOAT,
                grad.data_ptr() + start * self._answers * FLOAT,
                codes.data_ptr() + start * self._answers,
                sums[part].data_ptr(),
                biases[part].data_ptr(),
                0,
                lists[part].data_ptr(),
                stop - start,
            )

        spread(len(grad), work)
        total, bias = (sums[0], biases[0]) if parts == 1 else (sums.sum(0), biases.sum(0))
        if shallow:
            total = total[..., : s.filters].permute(3, 0, 1, 2).contiguous()
        return total.permute(0, 3, 1, 2), bias[: s.filters]

    def lengths(self, room: torch.Tensor, grad: torch.Tensor, codes: torch.Tensor, *, bias: bool) -> torch.Tensor:
        """Return (N,) the length of each image's own gradient of the filters, and of the bias where there is one."""
        s, compute = self.shape, self._weights
        size = KERNEL * KERNEL * s.depth * (s.wide if s.depth <= backward.SHALLOW else s.filters)
        sums = grad.new_zeros(min(APIECE, len(grad)), size + s.wide)
        lists = grad.new_empty(crew(len(sums)), 2 * s.windows[0] * s.windows[1] * s.wide)
        found = grad.new_empty(len(grad))
        for first in range(0, len(grad), APIECE):
            count = min(APIECE, len(grad) - first)

            def work(part: int, start: int, stop: int, first: int = first) -> None:
                compute(
                    room.data_ptr() + (first + start) * self._padded * FLOAT,
                    self._padded * FLOAT,
                    grad.data_ptr() + (first + start) * self._answers * FLOAT,
                    codes.data_ptr() + (first + start) * self._answers,
                    sums[start].data_ptr(),
                    sums[start, size:].data_ptr(),
                    sums.stride(0) * FLOAT,
                    lists[part].data_ptr(),
                    stop - start,
                )

            spread(count, work)
            torch.linalg.vector_norm(sums[:count, : None if bias else size], dim=1, out=found[first : first + count])
            sums.zero_()
        return found

    def inputs(self, grad: torch.Tensor, codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the images."""
        s, compute = self.shape, self._inputs
        filters = weight.permute(0, 2, 3, 1)
        if s.deep != s.depth:
            filters = torch.nn.functional.pad(filters, (0, s.deep - s.depth))
        filters = filters.contiguous()
        room = grad.new_empty(crew(len(grad)), s.padded[0] * s.padded[1] * s.deep)
        back = grad.new_empty(len(grad), s.height, s.width, s.depth)

        def work(part: int, start: int, stop: int) -> None:
            compute(
                grad.data_ptr() + start * self._answers * FLOAT,
                codes.data_ptr() + start * self._answers,
                filters.data_ptr(),
                room[part].data_ptr(),
                back.data_ptr() + start * back.stride(0) * FLOAT,
                stop - start,
            )

        spread(len(grad), work)
        return back


@cache
def _turning() -> torch.Tensor:
    """Return (16, 9): what turns a filter, row by row, into the numbers that are multiplied."""
    one = torch.tensor(answering.FILTER)
    return torch.kron(one, one)


@cache
def pooled(shape: Shape) -> Pooled:
    """Return the functions of a shape, which are compiled when they are first called."""
    return Pooled(shape)
