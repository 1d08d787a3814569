"""Principal components of a window, one model for every series (scikit-learn, exported by skl2onnx).

Each series is a row: its last 16 points. What eight components do not explain is its score. The model has no names of
series; it takes all that a node has. skl2onnx exports the projection; the way back is two matrices more.

pip install scikit-learn skl2onnx onnx numpy
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from telemetry import HERE, manifest, report, telemetry, windows

ROWS = 16
data = windows(telemetry(4000, seed=2), ROWS).transpose(0, 2, 1).reshape(-1, ROWS)
model = make_pipeline(StandardScaler(), PCA(n_components=8)).fit(data)
scaler, pca = model.named_steps["standardscaler"], model.named_steps["pca"]

onx = to_onnx(model, np.zeros((1, ROWS), np.float32), target_opset={"": 17, "ai.onnx.ml": 3})
graph = onx.graph
back = {
    "back": pca.components_ * scaler.scale_,
    "offset": pca.mean_ * scaler.scale_ + scaler.mean_,
}
graph.initializer.extend(numpy_helper.from_array(np.float32(v), name) for name, v in back.items())
graph.node.append(helper.make_node("MatMul", [graph.output[0].name, "back"], ["there_and_back"]))
graph.node.append(helper.make_node("Add", ["there_and_back", "offset"], ["reconstruction"]))
graph.output.append(helper.make_tensor_value_info("reconstruction", TensorProto.FLOAT, [None, ROWS]))
(HERE / "pca.onnx").write_bytes(onx.SerializeToString())


def score(x):  # [series, ROWS]
    again = scaler.inverse_transform(pca.inverse_transform(model.transform(x)))
    return np.sqrt(np.square(again - x).mean(axis=1))


# Import tries a model for any number of series with five.
usual = telemetry(3000, seed=3)[100 : 100 + ROWS, :5]
odd = usual.copy()
odd[1::2, 2] += 5.0
manifest(
    "pca",
    "Principal components of a window of 16 points, from scikit-learn: one row a series, any number of series.",
    rows=ROWS,
    kind="score-per-series",
    named=False,
    layout="row-per-series",
    foreign='output = "reconstruction"\nmeaning = "reconstruction"',
    golden=[(x, score(np.float64(x).T)) for x in (usual, odd)],
)
report("pca")
