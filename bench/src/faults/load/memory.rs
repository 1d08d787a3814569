//! Grows.

use std::hint::black_box;

use anyhow::Result;

use super::Limit;

const MB: usize = 1 << 20;

/// Takes `mb_per_s` until `most` MB are held, and holds them until its end.
///
/// # Errors
/// Never; the type is that of its siblings.
pub fn leak(limit: &Limit, mb_per_s: u64, most: u64) -> Result<()> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    limit.at_rate(mb_per_s, most, |_| {
        // Every page is written, or the kernel would not give it.
        held.push(vec![1; MB]);
        true
    });
    limit.hold();
    black_box(&held);
    Ok(())
}
