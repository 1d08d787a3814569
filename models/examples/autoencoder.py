"""An autoencoder over all series of a host, one point at a time (PyTorch).

pip install torch onnx onnxscript numpy
"""

import numpy as np
import torch
from telemetry import HERE, SERIES, manifest, report, telemetry

torch.manual_seed(1)
N = len(SERIES)
model = torch.nn.Sequential(
    torch.nn.Linear(N, 24), torch.nn.Tanh(), torch.nn.Linear(24, 3), torch.nn.Linear(3, 24), torch.nn.Tanh(), torch.nn.Linear(24, N)
)
data = torch.from_numpy(telemetry(4000, seed=2))
optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(400):
    optimiser.zero_grad()
    loss = (model(data) - data).square().mean()
    loss.backward()
    optimiser.step()
print(f"loss {loss.item():.3f}")

model.eval()
torch.onnx.export(
    model,
    (torch.zeros(1, N),),
    HERE / "autoencoder.onnx",
    input_names=["x"],
    output_names=["reconstruction"],
    opset_version=17,
    dynamo=False,
)


def score(x):
    with torch.no_grad():
        return (model(x) - x).square().mean().sqrt().numpy()


odd = data[100:101].clone()
odd[0, 3] += 8.0
manifest(
    "autoencoder",
    "An autoencoder over eight series of a host, from PyTorch: the score is what it cannot reconstruct.",
    rows=1,
    kind="host-score",
    foreign='meaning = "reconstruction"',
    golden=[(x.numpy(), score(x)) for x in (data[50:51], odd)],
)
report("autoencoder")
