//! Runs of free ports for clusters: `--base-port P --nodes N` takes consecutive ones.
//!
//! A run is leased by a UDP socket on each of its numbers: TCP does not mind, and no other test, in this process or
//! another, gets the same lease; the system takes it back however the process ends. That the TCP ports are free is
//! checked by binding them. All are below the range from which the system gives ports to outgoing connections, so none
//! of those takes one between the check and the start of a node.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, process};

/// Consecutive ports that belong to one test until it drops them.
#[derive(Debug)]
pub(crate) struct Ports {
    first: u16,
    leases: Vec<UdpSocket>,
}

impl Ports {
    /// A run of so many ports.
    pub(crate) fn take(count: u16) -> Self {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let range = range();
        let runs = usize::from((range.end - range.start) / count);
        for _ in 0..runs {
            // Several test processes start at different places; and in one, no run is tried twice in a row.
            let turn = TURN.fetch_add(1, Ordering::Relaxed).wrapping_add(process::id() as usize * 37) % runs;
            let first = range.start + count * u16::try_from(turn).unwrap();
            if let Some(ports) = Self::lease(first, count) {
                return ports;
            }
        }
        panic!("no {count} consecutive free ports in {range:?}");
    }

    fn lease(first: u16, count: u16) -> Option<Self> {
        let leases: Option<_> =
            (first..first + count).map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()).collect();
        let free = (first..first + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
        leases.filter(|_| free).map(|leases| Self { first, leases })
    }

    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    pub(crate) fn count(&self) -> usize {
        self.leases.len()
    }

    pub(crate) fn at(&self, index: usize) -> u16 {
        assert!(index < self.count());
        self.first + u16::try_from(index).unwrap()
    }

    pub(crate) fn all(&self) -> Vec<u16> {
        (0..self.count()).map(|index| self.at(index)).collect()
    }
}

/// Where to look: below the ports of outgoing connections, or above them if they begin early.
fn range() -> Range<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let outgoing: Vec<u16> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match outgoing[..] {
        [first, last] if first < 12_000 => last.saturating_add(1).min(60_000)..65_500,
        [first, _] => 10_000..first,
        _ => 10_000..32_768,
    }
}
