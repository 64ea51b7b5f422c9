//! The numbers as Prometheus reads them: its text format, version 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::{CLASSES, Metrics, NAMES};
use crate::turn::TurnStats;

/// What the counters are, by their names without the labels.
const HELP: [(&str, &str); 8] = [
    ("linkup_connections_total", "TCP connections that were accepted."),
    ("linkup_web_sockets_total", "WebSockets that were opened."),
    ("linkup_bytes_total", "Bytes from and to clients, without those of TLS."),
    ("linkup_messages_total", "Messages of peers."),
    ("linkup_refused_total", "Connections and messages that were answered with an error."),
    ("linkup_dropped_total", "WebSockets that the broker has ended."),
    ("linkup_cluster_signals_total", "Signals to and from peers of other brokers."),
    ("linkup_cluster_cuts_total", "Times that this broker was cut off from the others."),
];

/// What is now.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) connections: usize,
    pub(crate) sockets: usize,
    pub(crate) peers: usize,
    pub(crate) addresses: usize,
    pub(crate) draining: bool,
    /// Whether the other brokers are reached, and ids can be had. None where there are none.
    pub(crate) cluster: Option<(bool, bool)>,
    pub(crate) turn: Option<TurnStats>,
}

/// All of it.
pub(crate) fn render(metrics: &Metrics, now: &Gauges) -> String {
    let mut page = Page(String::with_capacity(6 * 1024));
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    page.one("linkup_build_info", "gauge", "The version of this broker.", version, 1);
    page.one("linkup_connections", "gauge", "Connections now, of HTTP and WebSocket.", "", now.connections);
    page.one("linkup_web_sockets", "gauge", "WebSockets now.", "", now.sockets);
    page.one("linkup_peers", "gauge", "Registered ids now.", "", now.peers);
    page.one("linkup_addresses", "gauge", "Addresses that the limits remember now.", "", now.addresses);
    page.one("linkup_draining", "gauge", "1 while clients are told to move on.", "", u8::from(now.draining));
    if let Some((up, ready)) = now.cluster {
        page.one("linkup_cluster_up", "gauge", "1 while the other brokers are reached.", "", u8::from(up));
        page.one("linkup_cluster_ready", "gauge", "1 while ids can be had.", "", u8::from(ready));
    }
    for (family, help) in HELP {
        page.head(family, "counter", help);
        for (at, (_, label)) in NAMES.iter().enumerate().filter(|(_, (name, _))| *name == family) {
            page.sample(family, label, metrics.sum(|stripe| stripe.counts.get(at)));
        }
    }
    page.histogram(metrics);
    if let Some(turn) = &now.turn {
        page.turn(turn);
    }
    if let Some(bytes) = resident() {
        page.one("process_resident_memory_bytes", "gauge", "Memory of the process.", "", bytes);
    }
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, label: &str, value: impl Display) {
        let _ = match label {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{label}}} {value}"),
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, label: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, label, value);
    }

    fn histogram(&mut self, metrics: &Metrics) {
        self.head("linkup_route_seconds", "histogram", "From a signal's arrival until it is written to its receiver.");
        let mut count = 0;
        for (at, end) in CLASSES.iter().enumerate() {
            count += metrics.sum(|stripe| stripe.classes.get(at));
            let label = format!("le=\"{}\"", *end as f64 / 1e6);
            self.sample("linkup_route_seconds_bucket", &label, count);
        }
        count += metrics.sum(|stripe| stripe.classes.last());
        self.sample("linkup_route_seconds_bucket", "le=\"+Inf\"", count);
        let sum: u64 = metrics.stripes.iter().map(|stripe| stripe.nanoseconds.load(Ordering::Relaxed)).sum();
        self.sample("linkup_route_seconds_sum", "", sum as f64 / 1e9);
        self.sample("linkup_route_seconds_count", "", count);
    }

    fn turn(&mut self, turn: &TurnStats) {
        let TurnStats { allocations, allocated, refused, unauthorized, bytes_up, bytes_down, dropped } = turn;
        self.one("linkup_turn_allocations", "gauge", "TURN allocations now.", "", allocations);
        self.one("linkup_turn_allocations_total", "counter", "TURN allocations that were made.", "", allocated);
        self.one(
            "linkup_turn_refused_total",
            "counter",
            "Requests with good credentials that were refused.",
            "",
            refused,
        );
        let help = "Requests without good credentials: each client begins with one.";
        self.one("linkup_turn_unauthorized_total", "counter", help, "", unauthorized);
        self.head("linkup_turn_bytes_total", "counter", "Bytes relayed, up from clients and down to them.");
        self.sample("linkup_turn_bytes_total", "direction=\"up\"", bytes_up);
        self.sample("linkup_turn_bytes_total", "direction=\"down\"", bytes_down);
        self.one("linkup_turn_dropped_total", "counter", "Datagrams that were not relayed.", "", dropped);
    }
}

/// Bytes of memory of this process. None where the system does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Count;
    use super::*;

    #[test]
    fn every_family_has_its_help_and_its_samples_together() {
        let families: Vec<_> = NAMES.iter().map(|(family, _)| *family).collect();
        let mut once = families.clone();
        once.dedup();
        assert_eq!(once, HELP.map(|(family, _)| family));
    }

    #[test]
    fn counts_and_classes_are_written_down() {
        let metrics = Metrics::new();
        metrics.add(Count::RefusedOrigin, 3);
        for microseconds in [10, 60, 1_000_000, 10_000_000] {
            metrics.routed(Duration::from_micros(microseconds));
        }
        let turn = Some(TurnStats { bytes_down: 7, ..TurnStats::default() });
        let page = render(&metrics, &Gauges { peers: 5, turn, ..Gauges::default() });
        for line in [
            "# TYPE linkup_refused_total counter",
            "linkup_refused_total{reason=\"origin\"} 3",
            "linkup_refused_total{reason=\"sockets\"} 0",
            "linkup_peers 5",
            "# TYPE linkup_route_seconds histogram",
            "linkup_route_seconds_bucket{le=\"0.00005\"} 1",
            "linkup_route_seconds_bucket{le=\"0.0001\"} 2",
            "linkup_route_seconds_bucket{le=\"2.5\"} 3",
            "linkup_route_seconds_bucket{le=\"+Inf\"} 4",
            "linkup_route_seconds_sum 11.00007",
            "linkup_route_seconds_count 4",
            "linkup_turn_bytes_total{direction=\"down\"} 7",
        ] {
            assert!(page.lines().any(|written| written == line), "{line}\n{page}");
        }
    }
}
