"""Make the small networks in this folder with PyTorch, and what its autograd computes for them.

Run it from this folder, with torch and safetensors installed: ``python make_weights.py``. Each network
``NAME.safetensors`` is the state_dict of a module as people write them; ``NAME.npz`` holds an input, a
target, the loss, and the gradients by every parameter and every layer's states, all in float64. The loss
is the mean squared error of the readout at the last time step, the mean over the batch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).resolve().parent
LENGTH, BATCH, FEATURES, OUTPUTS = 7, 3, 3, 2


class Tagger(nn.Module):
    """A bidirectional LSTM of two layers, with an embedding that the probe has no use for."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, FEATURES)
        self.lstm = nn.LSTM(FEATURES, 4, num_layers=2, bidirectional=True)
        self.head = nn.Linear(8, OUTPUTS)


class Forecaster(nn.Module):
    """A GRU with a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, 4)
        self.out = nn.Linear(4, OUTPUTS)


class Small(nn.Module):
    """One layer of an LSTM with a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"lstm": nn.LSTM(FEATURES, 4)})
        self.fc = nn.Linear(4, OUTPUTS)


class Rectifier(nn.Module):
    """A plain network with rectified units and no recurrent biases."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(FEATURES, 5, nonlinearity="relu", bias=False)
        self.fc = nn.Linear(5, OUTPUTS)


def stepped(module: nn.RNNBase, x: torch.Tensor, kept: dict[str, torch.Tensor]) -> torch.Tensor:
    """Run a module a time step and a layer at a time, so that every state can be asked for its gradient."""
    cell = {"RNN_RELU": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}[module.mode]
    for k in range(module.num_layers):
        outputs = []
        for suffix in ("", "_reverse")[: 1 + module.bidirectional]:
            extra = {"nonlinearity": "relu"} if module.mode == "RNN_RELU" else {}
            one = cell(x.shape[2], module.hidden_size, bias=module.bias, **extra).double()
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if module.bias else 2]
            weights = {name: getattr(module, f"{name}_l{k}{suffix}") for name in names}
            state, memory, states = (
                torch.zeros(BATCH, module.hidden_size, dtype=torch.float64),
                None,
                [None] * LENGTH,
            )
            for t in reversed(range(LENGTH)) if suffix else range(LENGTH):
                if module.mode == "LSTM":
                    memory = torch.zeros_like(state) if memory is None else memory
                    state, memory = torch.func.functional_call(one, weights, (x[t], (state, memory)))
                else:
                    state = torch.func.functional_call(one, weights, (x[t], state))
                state.retain_grad()
                kept[f"state_l{k}{suffix}_{t}"] = state
                states[t] = state
            outputs.append(torch.stack(states))
        x = torch.cat(outputs, dim=2)
    return x


def make(name: str, module: nn.Module, recurrent: nn.RNNBase, readout: nn.Linear) -> None:
    """Write a network, and its gradients."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)  # away from the smallness of a fresh initialisation
    save_file(
        {key: value.contiguous() for key, value in module.state_dict().items()}, HERE / f"{name}.safetensors"
    )
    x = torch.randn(LENGTH, BATCH, FEATURES, dtype=torch.float64)
    y = torch.randn(BATCH, OUTPUTS, dtype=torch.float64)
    kept: dict[str, torch.Tensor] = {}
    states = stepped(recurrent, x, kept)
    torch.testing.assert_close(states, recurrent(x)[0], rtol=1e-12, atol=1e-14)
    loss = nn.functional.mse_loss(readout(states[-1]), y)
    loss.backward()
    arrays = {"inputs": x.numpy(), "targets": y[None].numpy(), "loss": loss.detach().numpy()}
    for key, parameter in module.named_parameters():
        if parameter.grad is not None:
            arrays[f"gradient {key}"] = parameter.grad.numpy()
    suffixes = ("", "_reverse")[: 1 + recurrent.bidirectional]
    zero = np.zeros((BATCH, recurrent.hidden_size))
    for k in range(recurrent.num_layers):
        for suffix in suffixes:
            # A state that the loss does not see has no gradient.
            steps = [kept[f"state_l{k}{suffix}_{t}"].grad for t in range(LENGTH)]
            arrays[f"adjoint l{k}{suffix}"] = np.stack([zero if g is None else g.numpy() for g in steps])
    np.savez(HERE / f"{name}.npz", **arrays)


def main() -> None:
    """Make all of them."""
    torch.manual_seed(20)
    tagger, forecaster, small, rectifier = Tagger(), Forecaster(), Small(), Rectifier()
    make("lstm-2-bidirectional", tagger, tagger.lstm, tagger.head)
    make("gru", forecaster, forecaster.gru, forecaster.out)
    make("lstm", small, small.model["lstm"], small.fc)
    make("rnn-relu", rectifier, rectifier.rnn, rectifier.fc)


if __name__ == "__main__":
    main()
