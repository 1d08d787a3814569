"""A recurrent autoencoder over windows of 16 points of all series (PyTorch).

A GRU and not an LSTM: the runtime computes it four times faster, and cannot load an LSTM whose input is one vector repeated.

pip install torch onnx onnxscript numpy
"""

import torch
from telemetry import HERE, SERIES, manifest, report, telemetry, windows

torch.manual_seed(1)
N, ROWS, HIDDEN = len(SERIES), 16, 12


class GruAutoencoder(torch.nn.Module):
    """Reads the window, and writes it again from its last state."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.GRU(N, HIDDEN, batch_first=True)
        self.decoder = torch.nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.out = torch.nn.Linear(HIDDEN, N)

    def forward(self, x):  # [1, ROWS, N]
        _, state = self.encoder(x)
        repeated = state.transpose(0, 1).expand(-1, ROWS, -1)
        hidden, _ = self.decoder(repeated)
        return self.out(hidden)


model = GruAutoencoder()
data = torch.from_numpy(windows(telemetry(2000, seed=2), ROWS))
optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
for _ in range(150):
    optimiser.zero_grad()
    loss = (model(data) - data).square().mean()
    loss.backward()
    optimiser.step()
print(f"loss {loss.item():.3f}")

model.eval()
torch.onnx.export(
    model,
    (torch.zeros(1, ROWS, N),),
    HERE / "gru.onnx",
    input_names=["x"],
    output_names=["reconstruction"],
    opset_version=17,
    dynamo=False,
)


def score(x):
    """Per series: root mean square over the window."""
    with torch.no_grad():
        return (model(x) - x).square().mean(dim=1).sqrt().numpy()


odd = data[100:101].clone()
odd[0, 8:, 2] += 6.0
manifest(
    "gru",
    "A recurrent autoencoder over windows of 16 points, from PyTorch: one score a series.",
    rows=ROWS,
    kind="score-per-series",
    foreign='meaning = "reconstruction"',
    golden=[(x.numpy(), score(x)) for x in (data[50:51], odd)],
)
report("gru")
