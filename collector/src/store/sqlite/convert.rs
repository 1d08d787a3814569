//! Messages as blobs.

use minicbor::{Decode, Encode};
use rusqlite::Row;
use rusqlite::types::Type;

/// A message as CBOR.
pub fn blob<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to a vector cannot fail")
}

/// The message in a column; an error names the column.
pub fn from_blob<T: for<'b> Decode<'b, ()>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let bytes: Vec<u8> = row.get(column)?;
    minicbor::decode(&bytes).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(e)))
}

/// A text column in a type of ours.
pub fn parse<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// A numbers' place in SQLite, which has signed integers only; ours never reach the sign.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// And back.
pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
