//! What the linter, the rewriter and the trial say about a model they refuse.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of fault a model has. The names are stable: scripts and documentation refer to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// More bytes than allowed.
    TooLarge,
    /// Not an ONNX file, or a damaged one.
    NotOnnx,
    /// So many fields that merely decoding the file would cost too much memory.
    TooManyFields,
    /// No graph, or a graph without nodes.
    NoGraph,
    /// A version of the operator set that the runtime is not tested with.
    Opset,
    /// An operator that is not on the list.
    Operator,
    /// A graph inside a node, a function or a training graph.
    ControlFlow,
    /// Weights in another file.
    ExternalData,
    /// A tensor of a type that is not allowed.
    TensorType,
    /// A tensor whose shape and data do not agree.
    TensorShape,
    /// A weight that is NaN. (Infinities are fine in masks; what they do to the output is seen in the trial.)
    NanWeight,
    /// More constant elements than allowed, written or made by a node.
    TooManyConstants,
    /// More nodes than allowed.
    TooManyNodes,
    /// The graph runs in a circle.
    Cycle,
    /// A name that is missing, used twice or not defined.
    Name,
    /// The input does not fit the manifest.
    Input,
    /// The output does not fit the manifest.
    Output,
    /// A tree ensemble that is no ensemble of trees, or that cannot be written in core operators.
    Tree,
    /// A node that should be rewritten and cannot be.
    Rewrite,
    /// More arithmetic a run than allowed.
    TooMuchWork,
    /// The runtime cannot load it.
    Load,
    /// Inference failed, or gave a number that is not finite.
    Run,
    /// Stopped in the child process: too much time or memory.
    Stopped,
    /// Slower than its budget.
    TooSlow,
    /// More memory than its budget.
    TooMuchMemory,
    /// A golden output differs.
    Golden,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `TooManyNodes` as `too-many-nodes`, as in JSON.
        for (i, c) in format!("{self:?}").chars().enumerate() {
            if c.is_ascii_uppercase() && i > 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", c.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// One fault: what, where, and what is allowed instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of fault.
    pub code: Code,
    /// Which node, tensor or part of the model.
    pub place: String,
    /// What was found there.
    pub found: String,
    /// What is allowed, or what to do.
    pub allowed: String,
}

/// Longest text of a stranger's that is repeated.
const MAX_TEXT: usize = 200;

impl Finding {
    /// A finding; texts of a stranger's are cut and freed of control characters.
    #[must_use]
    pub fn new(code: Code, place: impl AsRef<str>, found: impl AsRef<str>, allowed: impl AsRef<str>) -> Self {
        let (place, found) = (tame(place.as_ref()), tame(found.as_ref()));
        Self { code, place, found, allowed: allowed.as_ref().to_owned() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; allowed: {}", self.code, self.place, self.found, self.allowed)
    }
}

/// A stranger's text, fit for a terminal.
fn tame(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A model that is refused, with every reason that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model is refused:{}", lines(.0))]
pub struct Refused(pub Vec<Finding>);

impl From<Finding> for Refused {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

/// Most findings that are printed in one error.
const MAX_LINES: usize = 12;

fn lines(findings: &[Finding]) -> String {
    let mut text: String = findings.iter().take(MAX_LINES).map(|f| format!("\n  {f}")).collect();
    if findings.len() > MAX_LINES {
        text += &format!("\n  and {} more", findings.len() - MAX_LINES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_where_and_what_is_allowed() {
        let finding = Finding::new(Code::TooManyNodes, "the graph", "9 nodes\u{1b}[31m", "at most 4");
        assert_eq!(finding.to_string(), "too-many-nodes: the graph: 9 nodes?[31m; allowed: at most 4");
        let refused = Refused(vec![finding; 20]).to_string();
        assert!(refused.ends_with("and 8 more"), "{refused}");
    }
}
