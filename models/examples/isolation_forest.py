"""An isolation forest over all series of a host (scikit-learn, exported by skl2onnx).

The export has tree operators that few runtimes know and a label nobody needs; import writes the trees as core operators
and leaves the label out. scikit-learn's score falls when a point is odd: `lower_is_worse`.

pip install scikit-learn skl2onnx onnx numpy
"""

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import IsolationForest
from telemetry import HERE, SERIES, manifest, report, telemetry

data = telemetry(4000, seed=2)
model = IsolationForest(n_estimators=14, max_samples=32, random_state=1).fit(data)
# Operator set 3 of ai.onnx.ml: the later one has trees in another form.
onx = to_onnx(model, np.zeros((1, len(SERIES)), np.float32), target_opset={"": 17, "ai.onnx.ml": 3})
(HERE / "isolation-forest.onnx").write_bytes(onx.SerializeToString())

odd = data[100:101].copy()
odd[0, 3] += 8.0
manifest(
    "isolation-forest",
    "An isolation forest over eight series of a host, from scikit-learn.",
    rows=1,
    kind="host-score",
    foreign='output = "scores"\nlower_is_worse = true',
    golden=[(x, -model.decision_function(x)) for x in (data[50:51], odd)],
)
report("isolation-forest")
