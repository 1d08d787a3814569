//! Messages as blobs.

use std::borrow::Cow;

use minicbor::{Decode, Decoder, Encode, Encoder, decode};
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

/// The message in a column without what stands under some keys: what is large and not asked for is not built.
pub fn from_blob_without<T: for<'b> Decode<'b, ()>>(row: &Row<'_>, column: usize, keys: &[u32]) -> rusqlite::Result<T> {
    let bytes = row.get_ref(column)?.as_blob()?;
    let read = || -> Result<T, decode::Error> { minicbor::decode(&without(bytes, keys)?) };
    read().map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(e)))
}

/// A message, which is a map, without some of its keys.
fn without<'a>(bytes: &'a [u8], keys: &[u32]) -> Result<Cow<'a, [u8]>, decode::Error> {
    let mut d = Decoder::new(bytes);
    // We write maps whose length is known.
    let Some(count) = d.map()? else { return Ok(Cow::Borrowed(bytes)) };
    let (mut kept, mut parts) = (0_u64, Vec::new());
    for _ in 0..count {
        let start = d.position();
        let key = d.u32()?;
        d.skip()?;
        if !keys.contains(&key) {
            kept += 1;
            parts.push(start..d.position());
        }
    }
    if kept == count {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut short = Vec::with_capacity(9 + parts.iter().map(ExactSizeIterator::len).sum::<usize>());
    Encoder::new(&mut short).map(kept).map_err(decode::Error::message)?;
    for part in parts {
        short.extend_from_slice(&bytes[part]);
    }
    Ok(Cow::Owned(short))
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
