//! What happens in the shop in each second: a small queueing model, the same in every run.
//!
//! Customers ask the web servers, these ask the application, which asks the database for most of it. Each service has so many
//! *slots* for requests and a queue of bounded length before them; who comes to a full queue is refused. So slowness spreads by
//! itself: when the disk of the database takes long, its slots fill, then its queue, then those of the application, and then the
//! web servers cannot connect. Nothing here knows what a detector looks at.

use super::noise::{Noise, Wander};
use super::shop::{
    API, BATCH, BATCH_TO_DB, CACHE, DB, MACHINES, PATHS, TO_API, TO_CACHE, TO_DB, TO_PAYMENTS, TO_WEB, WEB,
};

/// Requests a second of all customers.
const DEMAND: f64 = 80.0;
/// Seconds a web server, the application and the database need themselves.
const WEB_TIME: f64 = 0.001;
const API_TIME: f64 = 0.006;
const DB_TIME: f64 = 0.006;
/// Share of requests that need the database, and of those that are paid.
const NEED_DB: f64 = 0.75;
const PAID: f64 = 0.1;
/// Seconds a payment takes.
const PAYMENT_TIME: f64 = 0.12;
/// Looks into the cache of a request.
const LOOK_UPS: f64 = 2.0;
/// Times the database waits for its disk in a transaction, and what else its disk does in a second.
const WAITS: f64 = 4.0;
const OTHER_OPERATIONS: f64 = 30.0;
/// Seconds the disk takes for one of them: as it should, and when it fails.
const DISK_TIME: f64 = 0.000_6;
const DISK_TIME_FAILING: f64 = 0.8;
/// Seconds until it fails wholly.
const FAILS_WITHIN: f64 = 4.0;
/// Batch jobs, and seconds between a job's transactions.
const JOBS: f64 = 24.0;
const JOB_PAUSE: f64 = 4.0;
/// Seconds until a connect to a full queue is given up.
const CONNECT_TIMEOUT: f64 = 3.0;
/// Connections that wait to be used: of the balancer to each web server, of the application to the cache.
const BALANCER_POOL: f64 = 24.0;
const CACHE_POOL: f64 = 12.0;
/// Share of error lines in logs where nothing is wrong.
const FEW_ERRORS: f64 = 0.002;
/// Steps of a second in which queues are computed.
const STEPS: u32 = 20;

/// What passes over a path in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flow {
    /// Connections opened.
    pub connects: f64,
    /// Connects that failed.
    pub failed: f64,
    /// Connections open.
    pub active: f64,
    /// Seconds that a connection lasts.
    pub lifetime: f64,
    /// Bytes from client to server.
    pub sent: f64,
    /// Bytes back.
    pub received: f64,
    /// Segments sent again by the client.
    pub retransmits: f64,
    /// Connections that wait to be accepted.
    pub queue: f64,
}

/// The disk of the database.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Disk {
    /// Seconds an operation takes.
    pub time: f64,
    /// Operations that end in a second.
    pub operations: f64,
}

/// The shop in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    /// By path.
    pub flows: [Flow; PATHS.len()],
    /// Requests that each service finished.
    pub work: [f64; MACHINES.len()],
    /// Share of errors in each service's log over the last half minute.
    pub errors: [f64; MACHINES.len()],
    /// The disk that fails.
    pub disk: Disk,
}

/// Slots with a queue before them.
#[derive(Debug, Clone)]
struct Station {
    slots: f64,
    queue: f64,
    inside: f64,
}

/// What a station did in a second.
#[derive(Debug, Clone, Copy, Default)]
struct Served {
    done: f64,
    started: f64,
    refused: f64,
    /// How many more are inside than before.
    grown: f64,
    /// Seconds from coming in to being done.
    time: f64,
}

impl Station {
    const fn new(slots: f64, queue: f64) -> Self {
        Self { slots, queue, inside: 0.0 }
    }

    /// A second in which `arrivals` come and each takes `time` seconds of a slot.
    fn step(&mut self, arrivals: f64, time: f64) -> Served {
        let (before, step) = (self.inside, 1.0 / f64::from(STEPS));
        let mut refused = 0.0;
        for _ in 0..STEPS {
            if self.inside <= self.slots {
                // Towards as many as come in the time that one takes.
                let settled = arrivals * time;
                self.inside = settled + (self.inside - settled) * (-step / time).exp();
            } else {
                self.inside += (arrivals - self.slots / time) * step;
            }
            let beyond = (self.inside - self.slots - self.queue).max(0.0);
            refused += beyond;
            self.inside -= beyond;
        }
        let busy = |inside: f64| inside.min(self.slots);
        let done = (before + arrivals - refused - self.inside).max(0.0);
        Served {
            done,
            started: (done + busy(self.inside) - busy(before)).max(0.0),
            refused,
            grown: (self.inside - before).max(0.0),
            time: time * (self.inside / self.slots).max(1.0),
        }
    }

    /// Those that wait for a slot.
    fn waiting(&self) -> f64 {
        (self.inside - self.slots).max(0.0)
    }
}

/// How a call to a service ended of late.
#[derive(Debug, Clone, Copy, Default)]
struct Call {
    time: f64,
    refused: f64,
}

impl Call {
    fn of(served: &Served, asked: f64) -> Self {
        Self { time: served.time, refused: share(served.refused, asked) }
    }

    /// Seconds it takes on average.
    fn lasts(self) -> f64 {
        (1.0 - self.refused) * self.time + self.refused * CONNECT_TIMEOUT
    }
}

/// The shop.
#[derive(Debug)]
pub struct Shop {
    second: u64,
    fails_at: Option<u64>,
    noise: Noise,
    demand: Wander,
    web: [Station; 2],
    api: Station,
    db: Station,
    /// What callers found in the second before: it decides how long they wait in this one.
    to_api: Call,
    to_db: Call,
    errors: [f64; MACHINES.len()],
}

impl Default for Shop {
    fn default() -> Self {
        Self {
            second: 0,
            fails_at: None,
            noise: Noise::new(80),
            demand: Wander::new(90.0),
            web: [const { Station::new(1024.0, 512.0) }; 2],
            api: Station::new(200.0, 128.0),
            db: Station::new(100.0, 64.0),
            to_api: Call::default(),
            to_db: Call::default(),
            errors: [FEW_ERRORS; MACHINES.len()],
        }
    }
}

impl Shop {
    /// The disk of the database begins to fail in this second.
    pub fn fail_at(&mut self, second: u64) {
        self.fails_at = Some(second);
    }

    /// Seconds the disk takes for an operation.
    fn disk_time(&self) -> f64 {
        let since = self.fails_at.and_then(|at| self.second.checked_sub(at));
        let failed = since.map_or(0.0, |seconds| ((seconds + 1) as f64 / FAILS_WITHIN).min(1.0));
        DISK_TIME * (DISK_TIME_FAILING / DISK_TIME).powf(failed)
    }

    /// What happens in the next second.
    pub fn step(&mut self) -> Moment {
        let disk_time = self.disk_time();
        self.second += 1;
        let wander = self.demand.step(&mut self.noise);
        let mut asked = [0.0; 2];
        for rate in &mut asked {
            *rate = DEMAND / 2.0 * (1.0 + 0.02 * wander + 0.04 * self.noise.normal());
        }
        let (api_call, db_call) = (self.to_api.lasts(), self.to_db.lasts());
        let web = [0, 1].map(|i| self.web[i].step(asked[i], WEB_TIME + api_call));
        let to_api = [0, 1].map(|i| asked[i] - web[i].refused);
        let all = to_api[0] + to_api[1];
        let api = self.api.step(all, API_TIME + NEED_DB * db_call + PAID * PAYMENT_TIME);
        let (of_api, of_jobs) = (NEED_DB * api.started, JOBS / (JOB_PAUSE + db_call));
        let db = self.db.step(of_api + of_jobs, DB_TIME + WAITS * disk_time);
        (self.to_api, self.to_db) = (Call::of(&api, all), Call::of(&db, of_api + of_jobs));

        let failing_pages = self.to_api.refused;
        self.note_errors([
            failing_pages,
            failing_pages,
            NEED_DB * self.to_db.refused,
            0.0,
            0.1 * self.to_db.refused,
            self.to_db.refused,
        ]);
        let mut moment = Moment {
            errors: self.errors,
            disk: Disk { time: disk_time, operations: db.done * WAITS + OTHER_OPERATIONS },
            ..Moment::default()
        };
        for i in [0, 1] {
            moment.flows[TO_WEB[i]] = self.of_customers(i, asked[i], &web[i]);
            moment.flows[TO_API[i]] = of_requests(&self.api, &api, all, to_api[i], [900.0, 22_000.0]);
            moment.work[WEB[i]] = web[i].done;
        }
        moment.flows[TO_CACHE] = of_pool(CACHE_POOL, LOOK_UPS * api.started, [120.0, 2_400.0]);
        moment.flows[TO_DB] = of_requests(&self.db, &db, of_api + of_jobs, of_api, [600.0, 5_000.0]);
        moment.flows[BATCH_TO_DB] = of_requests(&self.db, &db, of_api + of_jobs, of_jobs, [2_500.0, 3_000.0]);
        moment.flows[TO_PAYMENTS] = of_payments(PAID * api.started);
        (moment.work[API], moment.work[CACHE]) = (api.started, LOOK_UPS * api.started);
        (moment.work[DB], moment.work[BATCH]) = (db.done, of_jobs);
        moment
    }

    /// A share of error lines follows what goes wrong within half a minute, as the log of a minute does.
    fn note_errors(&mut self, now: [f64; MACHINES.len()]) {
        for (errors, now) in self.errors.iter_mut().zip(now) {
            *errors += (FEW_ERRORS + 0.9 * now - *errors) / 30.0;
        }
    }

    /// The balancer keeps connections to use them again, and opens more when they are all in use.
    fn of_customers(&self, i: usize, asked: f64, web: &Served) -> Flow {
        let page = 24_000.0 * (1.0 - self.to_api.refused) + 500.0 * self.to_api.refused;
        Flow {
            connects: 2.0 + web.grown,
            failed: web.refused,
            active: BALANCER_POOL + self.web[i].inside,
            lifetime: 12.0 + web.time,
            sent: 700.0 * asked,
            received: page * web.done,
            retransmits: 0.05,
            queue: self.web[i].waiting(),
        }
    }
}

/// Each request has a connection of its own, from those `asked` of a station out of `all`; bytes of a request and of its answer.
fn of_requests(station: &Station, served: &Served, all: f64, asked: f64, bytes: [f64; 2]) -> Flow {
    let part = share(asked, all);
    let failed = served.refused * part;
    let connects = (asked - failed).max(0.0);
    Flow {
        connects,
        failed,
        active: station.inside * part,
        lifetime: served.time,
        sent: bytes[0] * connects,
        received: bytes[1] * served.done * part,
        // A connect that is not answered is tried twice more.
        retransmits: 0.02 + 2.0 * failed,
        queue: station.waiting(),
    }
}

/// Requests over connections that stay.
fn of_pool(pool: f64, requests: f64, bytes: [f64; 2]) -> Flow {
    Flow {
        connects: pool / 60.0,
        active: pool,
        lifetime: 60.0,
        sent: bytes[0] * requests,
        received: bytes[1] * requests,
        retransmits: 0.01,
        ..Flow::default()
    }
}

fn of_payments(payments: f64) -> Flow {
    Flow {
        connects: payments,
        active: payments * PAYMENT_TIME,
        lifetime: PAYMENT_TIME,
        sent: 1_800.0 * payments,
        received: 5_200.0 * payments,
        retransmits: 0.02,
        ..Flow::default()
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smallest and largest of a figure over so many seconds.
    fn range(shop: &mut Shop, seconds: usize, figure: impl Fn(&Moment) -> f64) -> (f64, f64) {
        let values = (0..seconds).map(|_| figure(&shop.step()));
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    }

    #[test]
    fn nothing_is_refused_while_all_is_well() {
        let mut shop = Shop::default();
        range(&mut shop, 60, |_| 0.0);
        let (least, most) = range(&mut shop, 3600, |m| m.flows[TO_DB].connects);
        assert!(least > 40.0 && most < 80.0, "{least} {most}");
        let failed = |m: &Moment| -> f64 { m.flows.iter().map(|f| f.failed + f.queue).sum() };
        assert_eq!(range(&mut shop, 3600, failed), (0.0, 0.0));
        assert!(range(&mut shop, 3600, |m| m.flows[TO_DB].active).1 < 2.0);
        assert!(range(&mut shop, 3600, |m| m.flows[TO_API[0]].lifetime).1 < 0.05);
        assert!(range(&mut shop, 3600, |m| m.errors.iter().sum()).1 < 0.02);
    }

    /// By Little's law: what is inside is what comes in a second times how long it stays.
    #[test]
    fn connections_open_are_those_that_come_times_how_long_they_stay() {
        let mut shop = Shop::default();
        (0..100).for_each(|_| _ = shop.step());
        for _ in 0..100 {
            let moment = shop.step();
            for path in [TO_API[0], TO_API[1], TO_DB, BATCH_TO_DB, TO_PAYMENTS] {
                let flow = moment.flows[path];
                let expected = flow.connects * flow.lifetime;
                assert!((flow.active / expected - 1.0).abs() < 0.05, "{path}: {flow:?}");
            }
        }
    }

    #[test]
    fn a_slow_disk_is_felt_by_all_callers_one_after_the_other() {
        let mut shop = Shop::default();
        (0..100).for_each(|_| _ = shop.step());
        shop.fail_at(100);
        let moments: Vec<Moment> = (0..60).map(|_| shop.step()).collect();
        let first =
            |is_so: &dyn Fn(&Moment) -> bool| moments.iter().position(is_so).expect("it happens within a minute");
        let disk = first(&|m| m.disk.time > 0.1);
        let db_full = first(&|m| m.flows[TO_DB].active > 80.0);
        let db_refuses = first(&|m| m.flows[TO_DB].failed > 1.0);
        let api_refuses = first(&|m| m.flows[TO_API[0]].failed > 1.0);
        let order = [disk, db_full, db_refuses, api_refuses];
        assert!(order.is_sorted() && api_refuses < 25, "{order:?}");

        let last = moments[59];
        assert!(last.flows[TO_API[0]].active > 100.0 && last.flows[TO_WEB[0]].active > 60.0, "{last:?}");
        assert!(last.flows[BATCH_TO_DB].active > 5.0 && last.flows[TO_DB].queue > 50.0, "{last:?}");
        assert!(last.flows[TO_DB].lifetime > 3.0 && last.flows[TO_API[1]].lifetime > 3.0, "{last:?}");
        assert!([WEB[0], API, BATCH].iter().all(|m| last.errors[*m] > 0.05), "{:?}", last.errors);
        assert!(last.errors[CACHE] < 0.01 && last.disk.operations < 200.0, "{last:?}");
        let finite =
            |f: &Flow| [f.connects, f.failed, f.active, f.lifetime, f.sent, f.received].iter().all(|v| *v >= 0.0);
        assert!(moments.iter().flat_map(|m| &m.flows).all(finite));
    }
}
