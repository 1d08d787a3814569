//! Fits a foreign graph to the package's form: one input `window [rows, columns]`, one output of scores.
//!
//! PyTorch wants `[batch, time, features]`, convolutions `[batch, channels, time]`, scikit-learn `[samples, features]`;
//! some have their mask as a second input, some answer with a reconstruction, some with scores that fall when things get
//! worse. All of that is a handful of nodes at either end, written here once instead of asked of every author.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto};

use super::editor::{Editor, int};
use crate::import::contract::{Foreign, Layout, Meaning};
use crate::import::finding::{Code, Finding};
use crate::manifest::{Columns, Manifest, OutputKind};

/// Name of a package's input.
const WINDOW: &str = "window";

/// How the foreign input lies, relative to `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `[rows, columns]` itself.
    Same,
    /// `[rows * columns]`, row after row.
    Flat,
    /// `[1, rows * columns]`, row after row.
    FlatBatch,
    /// `[1, rows, columns]`: time, then features.
    Batch,
    /// `[1, columns, rows]`: channels, then time.
    Channels,
    /// `[columns, rows]`: each series an example.
    Series,
    /// `[columns, rows, 1]`.
    SeriesTime,
    /// `[columns, 1, rows]`.
    SeriesChannel,
}

/// One side of a shape: known or open.
type Dim = Option<usize>;

/// Rewrites the inputs and returns what was done. Afterwards the graph has the one input `window`.
///
/// # Errors
/// Inputs whose number, type or shape does not fit the manifest.
pub(super) fn adapt(editor: &mut Editor, manifest: &Manifest) -> Result<Vec<String>, Finding> {
    let foreign = manifest.foreign.clone().unwrap_or_default();
    let rows = manifest.input.rows;
    let series = match &manifest.input.columns {
        Columns::Named(names) => Some(names.len()),
        Columns::AllSeries => None,
    };
    let inputs = editor.graph.input.clone();
    let (values, mask) = split_inputs(&inputs, &foreign, manifest.input.mask)?;
    let mut done = Vec::new();
    // Free the name for our own input.
    if inputs.iter().any(|i| i.name == WINDOW) || uses(editor, WINDOW) {
        rename(editor, WINDOW);
    }
    let own = |name: &str| if name == WINDOW { renamed() } else { name.to_owned() };
    let columns = series.map(|n| if manifest.input.mask { 2 * n } else { n });
    let form;
    let as_fed;
    if let Some(mask) = mask {
        form = form_of(values, manifest.input.layout, rows, series)?;
        let mask_form = form_of(mask, manifest.input.layout, rows, series)?;
        let halves = editor.reshape(WINDOW, &[rows as i64, 2, -1]);
        let mut half = |i: i64| {
            let which = editor.integers(&[i]);
            let rows_1_n = editor.node("Gather", &[&halves, &which], vec![int("axis", 1)]);
            editor.reshape(&rows_1_n, &[rows as i64, -1])
        };
        let (left, right) = (half(0), half(1));
        shape(editor, &left, form, rows, series, &own(&values.name));
        shape(editor, &right, mask_form, rows, series, &own(&mask.name));
        as_fed = left;
        done.push(format!("inputs `{}` and `{}` taken from one window", values.name, mask.name));
    } else {
        form = form_of(values, manifest.input.layout, rows, columns)?;
        shape(editor, WINDOW, form, rows, columns, &own(&values.name));
        as_fed = WINDOW.to_owned();
        if form != Form::Same {
            done.push(format!("input `{}` shaped from [rows, columns] ({form:?})", values.name));
        }
    }
    editor.graph.input = vec![value_info(WINDOW, Some([Some(rows), columns]))];
    output(editor, manifest, &foreign, (form, rows, series, &as_fed), &mut done)?;
    Ok(done)
}

fn renamed() -> String {
    "window_of_the_model".to_owned()
}

fn uses(editor: &Editor, name: &str) -> bool {
    editor.graph.node.iter().any(|n| n.output.iter().any(|o| o == name))
        || editor.graph.initializer.iter().any(|t| t.name == name)
}

/// Gives a name of the foreign graph up for ours.
fn rename(editor: &mut Editor, name: &str) {
    let graph = &mut editor.graph;
    let nodes = graph.node.iter_mut().flat_map(|n| n.input.iter_mut().chain(&mut n.output));
    let constants = graph.initializer.iter_mut().map(|t| &mut t.name);
    let values = graph.input.iter_mut().chain(&mut graph.output).map(|v| &mut v.name);
    nodes.chain(constants).chain(values).filter(|n| *n == name).for_each(|n| *n = renamed());
}

/// The input of values and that of the mask.
fn split_inputs<'a>(
    inputs: &'a [ValueInfoProto],
    foreign: &Foreign,
    mask: bool,
) -> Result<(&'a ValueInfoProto, Option<&'a ValueInfoProto>), Finding> {
    let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
    let wrong = |allowed: &str| Finding::new(Code::Input, "the inputs", format!("{names:?}"), allowed);
    match (inputs, &foreign.mask_input) {
        ([values], None) => Ok((values, None)),
        ([a, b], Some(name)) if mask && b.name == *name => Ok((a, Some(b))),
        ([a, b], Some(name)) if mask && a.name == *name => Ok((b, Some(a))),
        (_, Some(_)) => Err(wrong("two inputs, `foreign.mask_input` one of them, and `input.mask = true`")),
        _ => Err(wrong("one input, or two with `foreign.mask_input`")),
    }
}

/// Recognises the form of an input, an open side fitting anything.
fn form_of(input: &ValueInfoProto, layout: Layout, rows: usize, columns: Dim) -> Result<Form, Finding> {
    let place = format!("input `{}`", input.name);
    let (kind, dims) = declared(input);
    if kind != Some(DataType::Float) {
        let found = kind.map_or("no type", |k| k.as_str_name());
        return Err(Finding::new(Code::Input, place, found, "FLOAT"));
    }
    let Some(dims) = dims else {
        return Err(Finding::new(Code::Input, place, "no shape", "a shape; only the batch may be open"));
    };
    let all = columns.map(|c| rows * c);
    let candidates: &[(Form, &[Dim])] = match layout {
        Layout::NodeVector => &[
            (Form::Same, &[Some(rows), columns]),
            (Form::Batch, &[Some(1), Some(rows), columns]),
            (Form::Channels, &[Some(1), columns, Some(rows)]),
            (Form::FlatBatch, &[Some(1), all]),
            (Form::Flat, &[all]),
        ],
        Layout::RowPerSeries => &[
            (Form::Series, &[columns, Some(rows)]),
            (Form::SeriesTime, &[columns, Some(rows), Some(1)]),
            (Form::SeriesChannel, &[columns, Some(1), Some(rows)]),
        ],
    };
    // A fixed side of the model fits only the same number; what the manifest leaves open, the model must leave open too.
    let side = |(model, manifest): (&Dim, &Dim)| model.is_none() || model == manifest;
    let fits = |form: &&(Form, &[Dim])| form.1.len() == dims.len() && dims.iter().zip(form.1).all(side);
    // Only one side may be open, or a window could be taken for a batch.
    if dims.iter().filter(|d| d.is_none()).count() > 1 {
        let found = format!("shape {} with several open sides", show(&dims));
        return Err(Finding::new(Code::Input, place, found, "at most the batch open; export with static shapes"));
    }
    candidates.iter().find(fits).map(|(form, _)| *form).ok_or_else(|| {
        let allowed: Vec<String> = candidates.iter().map(|(_, dims)| show(dims)).collect();
        Finding::new(Code::Input, place, format!("shape {}", show(&dims)), allowed.join(" or "))
    })
}

/// Element type and sides that a value declares.
pub(super) fn declared(value: &ValueInfoProto) -> (Option<DataType>, Option<Vec<Dim>>) {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return (None, None);
    };
    let dim = |d: &tensor_shape_proto::Dimension| match d.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(n)) => usize::try_from(n).ok(),
        _ => None,
    };
    (DataType::try_from(tensor.elem_type).ok(), tensor.shape.as_ref().map(|s| s.dim.iter().map(dim).collect()))
}

/// A shape as people write it; an open side is `?`.
pub(super) fn show(dims: &[Dim]) -> String {
    let sides: Vec<String> = dims.iter().map(|d| d.map_or("?".to_owned(), |n| n.to_string())).collect();
    format!("[{}]", sides.join(", "))
}

/// Writes the nodes that bring `[rows, columns]` into this form, under the name of the foreign input.
fn shape(editor: &mut Editor, from: &str, form: Form, rows: usize, columns: Dim, to: &str) {
    let r = rows as i64;
    let c = columns.map_or(-1, |c| c as i64);
    let (turned, target): (bool, &[i64]) = match form {
        Form::Same => return editor.node_named("Identity", &[from], vec![], to),
        Form::Flat => (false, &[-1]),
        Form::FlatBatch => (false, &[1, -1]),
        Form::Batch => (false, &[1, r, c]),
        Form::Channels => (true, &[1, c, r]),
        Form::Series => (true, &[c, r]),
        Form::SeriesTime => (true, &[c, r, 1]),
        Form::SeriesChannel => (true, &[c, 1, r]),
    };
    let from = if turned { editor.transpose(from, &[1, 0]) } else { from.to_owned() };
    let target = editor.integers(target);
    editor.node_named("Reshape", &[&from, &target], vec![], to);
}

/// Rewrites the output: a reconstruction becomes its error, a falling score a rising one.
fn output(
    editor: &mut Editor,
    manifest: &Manifest,
    foreign: &Foreign,
    (form, rows, series, as_fed): (Form, usize, Dim, &str),
    done: &mut Vec<String>,
) -> Result<(), Finding> {
    let declared_output = editor.graph.output[0].clone();
    let (kind, _) = declared(&declared_output);
    if !matches!(kind, Some(DataType::Float | DataType::Double | DataType::Float16)) {
        let found = kind.map_or("no type", |k| k.as_str_name());
        let place = format!("output `{}`", declared_output.name);
        return Err(Finding::new(Code::Output, place, found, "FLOAT; labels are not scores"));
    }
    let mut score = declared_output.name.clone();
    if kind != Some(DataType::Float) {
        score = editor.node("Cast", &[&score], vec![int("to", i64::from(DataType::Float as i32))]);
    }
    if foreign.meaning == Meaning::Reconstruction {
        let c = series.map_or(-1, |c| c as i64);
        // Both as [rows, columns] again, so that the error of a series is over its rows.
        let back = match form {
            Form::Channels | Form::Series | Form::SeriesTime | Form::SeriesChannel => {
                let turned = editor.reshape(&score, &[c, rows as i64]);
                editor.transpose(&turned, &[1, 0])
            }
            _ => editor.reshape(&score, &[rows as i64, c]),
        };
        let error = editor.node("Sub", &[as_fed, &back], vec![]);
        let square = editor.node("Mul", &[&error, &error], vec![]);
        let axes: &[i64] = if manifest.output.kind == OutputKind::HostScore { &[0, 1] } else { &[0] };
        let mean = editor.reduce("ReduceMean", &square, Some(axes), true);
        score = editor.node("Sqrt", &[&mean], vec![]);
        done.push(format!("output `{}` turned from a reconstruction into its error", declared_output.name));
    }
    if foreign.lower_is_worse {
        score = editor.node("Neg", &[&score], vec![]);
        done.push(format!("output `{}` negated", declared_output.name));
    }
    let name = editor.fresh("score");
    editor.node_named("Identity", &[&score], vec![], &name);
    editor.graph.output = vec![value_info(&name, None)];
    Ok(())
}

/// A value of f32; an open side gets a name, no shape at all is left to the runtime.
fn value_info(name: &str, dims: Option<[Dim; 2]>) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value;
    let dim = |d: Dim| tensor_shape_proto::Dimension {
        value: Some(d.map_or_else(|| Value::DimParam("series".to_owned()), |n| Value::DimValue(n as i64))),
        ..tensor_shape_proto::Dimension::default()
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.into_iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
