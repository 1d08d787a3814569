//! The messages as strangers see them: any value, any bytes, the schema, the documents, and what a quiet node costs.

mod arbitrary;
mod bounds;
mod bytes;
mod cddl;
mod document;
mod ledger;
mod quiet_node;
