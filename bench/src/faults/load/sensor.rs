//! A temperature, served as a Prometheus endpoint: it wanders and trembles, until it is stuck.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::spawn;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Limit;

/// Serves it until the end; while `stuck` is there, the last value stays.
///
/// # Errors
/// When the port is taken.
pub fn serve(limit: &Limit, port: u16, stuck: &Path) -> Result<()> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
    let stuck = stuck.to_owned();
    spawn(move || {
        let (began, mut noise, mut value) = (Instant::now(), Noise(88_172_645_463_325_252), 40.0);
        for stream in listener.incoming().flatten() {
            if !stuck.exists() {
                value = temperature(began.elapsed().as_secs_f64(), &mut noise);
            }
            // Who asked may have gone.
            let _ = answer(stream, value);
        }
    });
    limit.hold();
    Ok(())
}

/// Degrees Celsius: a slow wave of five minutes, and a tremble of a quarter of a degree.
fn temperature(seconds: f64, noise: &mut Noise) -> f64 {
    40.0 + 2.0 * (seconds / 300.0 * std::f64::consts::TAU).sin() + 0.25 * noise.next()
}

fn answer(mut stream: TcpStream, value: f64) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    // One request a connection; what it asks for does not matter.
    let mut request = [0; 1024];
    let _ = stream.read(&mut request)?;
    let body = format!("# TYPE board_temperature_celsius gauge\nboard_temperature_celsius {value:.2}\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
}

/// Marsaglia's xorshift, as a number from -1 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_is_believable_and_never_still() {
        let mut noise = Noise(1_234_567);
        let values: Vec<f64> = (0..600).map(|s| temperature(f64::from(s), &mut noise)).collect();
        assert!(values.iter().all(|v| (37.0..43.0).contains(v)));
        let moved = values.windows(2).filter(|w| (w[0] - w[1]).abs() > 0.005).count();
        assert!(moved > 550, "{moved} of 599 steps moved");
    }
}
