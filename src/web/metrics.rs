//! `GET /metrics`: counters in Prometheus' text format.
//!
//! What etcd has too is named as etcd names it, with `synod_` in the place of `etcd_`, so its dashboards and alerts need
//! little change. `synod_paxos_*` is what the single decrees do, `process_*` what every process tells.

use std::fmt::{Display, Write as _};
use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::node::core::Core;
use crate::node::measure::Histogram;
use crate::node::status::{Counters, Snapshot, StrongStatus};

/// The type of the answer.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const PATIENCE: Duration = Duration::from_secs(1);

/// All metrics; `streams` is how many pages are told what changes.
///
/// # Errors
/// The driver does not answer.
pub(super) fn text(core: &Core, streams: usize) -> Result<String, &'static str> {
    let snapshot = core.status(None, 0).recv_timeout(PATIENCE);
    let snapshot = snapshot.map_err(|_| "the node is stopping, or its driver is stuck")?;
    let mut out = Exposition(String::with_capacity(8 << 10));
    out.one("synod_server_id", GAUGE, "The node; always 1.", &[("server_id", &core.id)], 1);
    let version = env!("CARGO_PKG_VERSION");
    out.one("synod_server_version", GAUGE, "The program; always 1.", &[("server_version", &version)], 1);
    if let Some(log) = &snapshot.strong {
        server(&mut out, core, log, &snapshot.counters);
    }
    let help = "Whether clients' writes are refused because the disk is full.";
    out.one("synod_disk_full", GAUGE, help, &[], u64::from(snapshot.disk.is_some()));
    let help = "How long it took to write a batch of records and sync it.";
    out.family("synod_disk_wal_fsync_duration_seconds", HISTOGRAM, help);
    out.histogram("synod_disk_wal_fsync_duration_seconds", &[], &snapshot.counters.syncs);
    network(&mut out, core, snapshot.strong.as_ref());
    paxos(&mut out, &snapshot);
    let help = "Pages that are told what changes.";
    out.one("synod_page_streams", GAUGE, help, &[], streams as u64);
    process(&mut out, core);
    Ok(out.0)
}

fn server(out: &mut Exposition, core: &Core, log: &StrongStatus, counters: &Counters) {
    let leads = log.leader == Some(core.id);
    for (name, kind, help, value) in [
        ("has_leader", GAUGE, "Whether a leader is known.", u64::from(log.leader.is_some())),
        ("is_leader", GAUGE, "Whether this node leads.", u64::from(leads)),
        ("leader_changes_seen_total", COUNTER, "Leaders seen.", counters.leader_changes),
        ("proposals_committed_total", COUNTER, "The last entry known to be chosen.", log.committed),
        ("proposals_applied_total", COUNTER, "The last entry applied.", log.applied),
        ("proposals_pending", GAUGE, "Calls that wait for the leader.", log.waiting),
        ("proposals_failed_total", COUNTER, "Commands that failed.", counters.commands_failed),
        ("read_indexes_failed_total", COUNTER, "Reads that no leader confirmed.", counters.reads_failed),
    ] {
        out.one(&format!("synod_server_{name}"), kind, help, &[], value);
    }
}

fn network(out: &mut Exposition, core: &Core, log: Option<&StrongStatus>) {
    let traffic = core.peers.traffic();
    out.family("synod_network_active_peers", GAUGE, "Whether a peer and this node hear each other.");
    for peer in traffic.keys() {
        let hears = log.is_some_and(|log| log.hears.contains(peer));
        out.sample("synod_network_active_peers", &[("Local", &core.id), ("Remote", peer)], u64::from(hears));
    }
    out.family("synod_network_peer_sent_bytes_total", COUNTER, "Bytes of the calls to a peer.");
    for (peer, traffic) in &traffic {
        out.sample("synod_network_peer_sent_bytes_total", &[("To", peer)], traffic.sent.load(Relaxed));
    }
    out.family("synod_network_peer_received_bytes_total", COUNTER, "Bytes of a peer's answers.");
    for (peer, traffic) in &traffic {
        out.sample("synod_network_peer_received_bytes_total", &[("From", peer)], traffic.received.load(Relaxed));
    }
    out.family("synod_network_peer_sent_failures_total", COUNTER, "Calls that a peer did not answer.");
    for (peer, traffic) in &traffic {
        out.sample("synod_network_peer_sent_failures_total", &[("To", peer)], traffic.failures.load(Relaxed));
    }
    let name = "synod_network_peer_round_trip_time_seconds";
    out.family(name, HISTOGRAM, "How long a peer's answers took.");
    for (peer, traffic) in &traffic {
        out.histogram(name, &[("To", peer)], &traffic.round_trips.lock());
    }
}

fn paxos(out: &mut Exposition, snapshot: &Snapshot) {
    let Counters { proposals, ballots, decisions, messages_in, .. } = snapshot.counters;
    for (name, kind, help, value) in [
        ("proposals_total", COUNTER, "Values proposed by clients.", proposals),
        ("ballots_total", COUNTER, "Ballots started.", ballots),
        ("decisions_total", COUNTER, "Instances learned to be decided.", decisions),
        ("messages_received_total", COUNTER, "Messages of peers and guests, of all protocols.", messages_in),
        ("instances", GAUGE, "Instances known.", snapshot.instances_total as u64),
        ("ballots_running", GAUGE, "Ballots that run now.", snapshot.ballots_running as u64),
    ] {
        out.one(&format!("synod_paxos_{name}"), kind, help, &[], value);
    }
}

/// What the system says of this process; what it does not say is left out.
fn process(out: &mut Exposition, core: &Core) {
    let started = SystemTime::now().checked_sub(core.since.elapsed());
    if let Some(started) = started.and_then(|started| started.duration_since(UNIX_EPOCH).ok()) {
        let help = "When the process started, in seconds since 1970.";
        out.one("process_start_time_seconds", GAUGE, help, &[], started.as_secs_f64());
    }
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    out.one("process_cpu_seconds_total", COUNTER, "Time on processors.", &[], seconds);
    if let Some(kib) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_kib) {
        out.one("process_resident_memory_bytes", GAUGE, "Memory in use.", &[], kib << 10);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        out.one("process_open_fds", GAUGE, "Descriptors in use.", &[], open.count() as u64);
    }
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

type Labels<'a> = &'a [(&'a str, &'a dyn Display)];

/// The text, as it grows. Writing to a String cannot fail.
struct Exposition(String);

impl Exposition {
    /// A family of one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, labels: Labels<'_>, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, labels, value);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let text = text.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            _ = write!(self.0, "{label}=\"{text}\"");
        }
        self.0.push_str(if labels.is_empty() { "" } else { "}" });
        _ = writeln!(self.0, " {value}");
    }

    fn histogram(&mut self, name: &str, labels: Labels<'_>, histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count);
        }
        self.sample(&bucket, &[labels, &[("le", &"+Inf")]].concat(), histogram.count());
        self.sample(&format!("{name}_sum"), labels, histogram.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), labels, histogram.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_as_the_format_has_them() {
        let mut out = Exposition(String::new());
        out.one("a_total", COUNTER, "Help.", &[], 5);
        out.one("b", GAUGE, "Help.", &[("x", &"q\"\\\n"), ("y", &1)], 0.5);
        let expected = "# HELP a_total Help.\n# TYPE a_total counter\na_total 5\n\
                        # HELP b Help.\n# TYPE b gauge\nb{x=\"q\\\"\\\\\\n\",y=\"1\"} 0.5\n";
        assert_eq!(out.0, expected);
    }

    #[test]
    fn a_histogram_ends_in_what_there_is() {
        let (mut out, mut histogram) = (Exposition(String::new()), Histogram::default());
        histogram.observe(Duration::from_millis(1));
        histogram.observe(Duration::from_secs(60));
        out.histogram("h", &[("To", &7)], &histogram);
        let lines: Vec<&str> = out.0.lines().collect();
        assert_eq!(lines[0], "h_bucket{To=\"7\",le=\"0.000125\"} 0");
        assert_eq!(lines[3], "h_bucket{To=\"7\",le=\"0.001\"} 1");
        let end = ["h_bucket{To=\"7\",le=\"+Inf\"} 2", "h_sum{To=\"7\"} 60.001", "h_count{To=\"7\"} 2"];
        assert_eq!(lines[lines.len() - 3..], end);
    }

    #[test]
    fn the_systems_words() {
        assert_eq!(resident_kib("Name:\tsynod\nVmRSS:\t   1234 kB\n"), Some(1234));
        assert_eq!(resident_kib("Name:\tsynod\n"), None);
    }
}
