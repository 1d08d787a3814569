//! Datasets, training and evaluation of models; never linked into the agent.
//!
//! The crate has no code yet: the agent fits its own model (`tacit-models`), and evaluation on public data comes next. It stands
//! here so that the boundary is drawn from the start: it may know `tacit-models`, and nothing that ships to nodes may know it.
