//! temporary
use crate::simulated::{Node, detector, gross, step};
#[test]
fn trace() {
    let mut node = Node::new(200, 1000, 3);
    let mut d = detector(200, 1000, 1.0);
    for t in 0..1300 {
        let s = if (600..640).contains(&t) || (1000..1060).contains(&t) { step(&mut node, &mut d, gross) } else { step(&mut node, &mut d, |_| ()) };
        if t % 20 == 0 || (600..620).contains(&t) && t % 2 == 0 || s.transition.is_some() {
            let p = d.parts();
            println!("{t} w {:.2} s {:.2} c {:.2} d {:.2} f {:.2} | score {:.2} excess {:.2} alarm {:.2} sev {:.2} {:?}", p.windows, p.state, p.clusters, p.drift, p.flat, s.score, s.excess, s.alarm, s.severity, s.transition);
        }
    }
}
