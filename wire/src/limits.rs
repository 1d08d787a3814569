//! Bounds on everything that crosses the wire. A message beyond one of them is refused as a whole.

/// Largest payload on the wire, compressed or not.
pub const PAYLOAD: usize = 64 * 1024;
/// Largest payload after decompression: 16 times the wire's bound holds every honest message and stops a bomb.
pub const DECOMPRESSED: usize = 1024 * 1024;
/// Payloads larger than this are compressed.
pub const COMPRESS_ABOVE: usize = 1024;
/// Longest short text: names, reasons, versions.
pub const NAME: usize = 256;
/// Longest sentence or command line.
pub const TEXT: usize = 2048;
/// Longest settings of a desired configuration.
pub const SETTINGS: usize = 4 * 1024;
/// Longest body of a diagnosis.
pub const BODY: usize = 48 * 1024;
/// Longest work on a machine that can be marked, in seconds: one that is forgotten must not silence a node for ever.
pub const MAINTENANCE_S: u32 = 7 * 86_400;
/// Longest reason of such a mark in bytes.
pub const REASON: usize = 200;
/// Most elements of any list.
pub const LIST: usize = 8192;
/// Most attributes of one series.
pub const ATTRIBUTES: usize = 8;
/// Most tags of a node.
pub const TAGS: usize = 16;
/// Most points of one row of a summary or recording.
pub const POINTS: usize = 4096;
