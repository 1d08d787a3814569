//! Frames from the sampling thread to the analysis thread, and empty ones back.
//!
//! Two single-producer, single-consumer rings of boxed frames that were all made at the start: handing over allocates
//! nothing and never blocks. When the analysis thread is behind, there is no empty frame: the *new* sample is dropped,
//! counted, and marked as missed in the next one.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use ringbuf::traits::{Consumer as _, Producer as _, Split as _};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::clock::Tick;
use crate::source::Frame;

/// The sampling thread's end.
pub struct FrameSender {
    full: HeapProd<Box<Frame>>,
    empty: HeapCons<Box<Frame>>,
    bell: Arc<Bell>,
    missed: u32,
}

/// The analysis thread's end.
pub struct FrameReceiver {
    full: HeapCons<Box<Frame>>,
    empty: HeapProd<Box<Frame>>,
    bell: Arc<Bell>,
}

/// Wakes the analysis thread.
#[derive(Default)]
struct Bell {
    rung: Mutex<(bool, bool)>,
    wake: Condvar,
}

/// A queue of `frames` frames with room for `series` values each.
#[must_use]
pub fn pair(frames: usize, series: usize) -> (FrameSender, FrameReceiver) {
    let (full_in, full_out) = HeapRb::new(frames).split();
    let (mut empty_in, empty_out) = HeapRb::new(frames).split();
    for _ in 0..frames {
        // The ring has room for exactly these.
        let _ = empty_in.try_push(Box::new(Frame::new(series)));
    }
    let bell = Arc::new(Bell::default());
    let sender = FrameSender { full: full_in, empty: empty_out, bell: Arc::clone(&bell), missed: 0 };
    (sender, FrameReceiver { full: full_out, empty: empty_in, bell })
}

impl FrameSender {
    /// An empty frame for the tick `at`; `None`, and the sample counts as missed, when the analysis thread is behind.
    pub fn next_frame(&mut self, at: Tick) -> Option<Box<Frame>> {
        let Some(mut frame) = self.empty.try_pop() else {
            self.missed += 1;
            return None;
        };
        frame.reset(at);
        Some(frame)
    }

    /// Counts ticks that passed without a sample; the next frame carries the number.
    pub fn miss(&mut self, ticks: u32) {
        self.missed += ticks;
    }

    /// Hands a filled frame over.
    pub fn send(&mut self, mut frame: Box<Frame>) {
        frame.missed = std::mem::take(&mut self.missed);
        // There are no more frames than places.
        let _ = self.full.try_push(frame);
        self.bell.ring(false);
    }

    /// Tells the analysis thread that nothing comes any more.
    pub fn close(&self) {
        self.bell.ring(true);
    }
}

impl Drop for FrameSender {
    fn drop(&mut self) {
        self.close();
    }
}

impl Bell {
    fn ring(&self, closed: bool) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = (true, rung.1 || closed);
        self.wake.notify_one();
    }
}

/// What [`FrameReceiver::recv`] found.
pub enum Received {
    /// A frame; give it back after use.
    Frame(Box<Frame>),
    /// Nothing within the time.
    Nothing,
    /// The sampling thread has ended and everything was taken.
    Closed,
}

impl FrameReceiver {
    /// The next frame, waiting at most `limit` for it.
    pub fn recv(&mut self, limit: Duration) -> Received {
        if let Some(frame) = self.full.try_pop() {
            return Received::Frame(frame);
        }
        let rung = self.bell.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wake.wait_timeout_while(rung, limit, |(rung, closed)| !*rung && !*closed);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        rung.0 = false;
        let closed = rung.1;
        drop(rung);
        match self.full.try_pop() {
            Some(frame) => Received::Frame(frame),
            None if closed => Received::Closed,
            None => Received::Nothing,
        }
    }

    /// Gives a frame back for the next samples.
    pub fn give_back(&mut self, frame: Box<Frame>) {
        // It came from this ring.
        let _ = self.empty.try_push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_new_sample_and_marks_the_gap() {
        let (mut sender, mut receiver) = pair(2, 4);
        for n in 0..4_u64 {
            if let Some(frame) = sender.next_frame(Tick { mono_ms: n, wall_ms: 0 }) {
                sender.send(frame);
            }
        }
        let mut taken = Vec::new();
        while let Received::Frame(frame) = receiver.recv(Duration::ZERO) {
            taken.push((frame.at.mono_ms, frame.missed));
            receiver.give_back(frame);
        }
        assert_eq!(taken, [(0, 0), (1, 0)]);
        let frame = sender.next_frame(Tick { mono_ms: 9, wall_ms: 0 }).expect("there is room again");
        sender.miss(1);
        sender.send(frame);
        drop(sender);
        let Received::Frame(frame) = receiver.recv(Duration::ZERO) else { panic!("a frame was sent") };
        assert_eq!((frame.at.mono_ms, frame.missed), (9, 3));
        assert!(matches!(receiver.recv(Duration::ZERO), Received::Closed));
    }
}
