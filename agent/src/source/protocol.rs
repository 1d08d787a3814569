//! TCP, UDP, IP and ICMP health, from `/proc/net/snmp` and `/proc/net/netstat`. Both pair a line of names with a line of
//! numbers:
//!
//! ```text
//! Tcp: RtoAlgorithm RtoMin … ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs …
//! Tcp: 1 200 … 34 12 3 1 2 10233 9921 14 …
//! ```

use tacit_wire::semconv as sc;

use super::keyed::{Keyed, Wanted, counter, gauge, lines, number, words};
use super::{ParseError, ProcFile, Root, Sample, Sampled, Source, SourceError};

const SNMP: &[Wanted] = &[
    counter("Ip:InReceives", sc::IP_PACKETS, &["receive"], 1.0),
    counter("Ip:InDiscards", sc::IP_DISCARDS, &["receive"], 1.0),
    counter("Ip:OutRequests", sc::IP_PACKETS, &["transmit"], 1.0),
    counter("Ip:OutDiscards", sc::IP_DISCARDS, &["transmit"], 1.0),
    counter("Ip:OutNoRoutes", sc::IP_NO_ROUTES, &[], 1.0),
    counter("Ip:InHdrErrors", sc::IP_EVENTS, &["InHdrErrors"], 1.0),
    counter("Ip:InAddrErrors", sc::IP_EVENTS, &["InAddrErrors"], 1.0),
    counter("Ip:ForwDatagrams", sc::IP_EVENTS, &["ForwDatagrams"], 1.0),
    counter("Ip:InUnknownProtos", sc::IP_EVENTS, &["InUnknownProtos"], 1.0),
    counter("Ip:ReasmFails", sc::IP_EVENTS, &["ReasmFails"], 1.0),
    counter("Ip:FragFails", sc::IP_EVENTS, &["FragFails"], 1.0),
    counter("Icmp:InMsgs", sc::ICMP_MESSAGES, &["receive"], 1.0),
    counter("Icmp:InDestUnreachs", sc::ICMP_UNREACHABLE, &["receive"], 1.0),
    counter("Icmp:OutMsgs", sc::ICMP_MESSAGES, &["transmit"], 1.0),
    counter("Icmp:OutDestUnreachs", sc::ICMP_UNREACHABLE, &["transmit"], 1.0),
    counter("Tcp:ActiveOpens", sc::TCP_OPENS, &["active"], 1.0),
    counter("Tcp:PassiveOpens", sc::TCP_OPENS, &["passive"], 1.0),
    counter("Tcp:AttemptFails", sc::TCP_FAILED, &[], 1.0),
    counter("Tcp:EstabResets", sc::TCP_RESETS, &["receive"], 1.0),
    gauge("Tcp:CurrEstab", sc::TCP_ESTABLISHED, &[], 1.0),
    counter("Tcp:InSegs", sc::TCP_SEGMENTS, &["receive"], 1.0),
    counter("Tcp:OutSegs", sc::TCP_SEGMENTS, &["transmit"], 1.0),
    counter("Tcp:RetransSegs", sc::TCP_RETRANSMITS, &[], 1.0),
    counter("Tcp:InErrs", sc::TCP_ERRORS, &[], 1.0),
    counter("Tcp:OutRsts", sc::TCP_RESETS, &["transmit"], 1.0),
    counter("Udp:InDatagrams", sc::UDP_DATAGRAMS, &["receive"], 1.0),
    counter("Udp:NoPorts", sc::UDP_ERRORS, &["no_port"], 1.0),
    counter("Udp:InErrors", sc::UDP_ERRORS, &["receive"], 1.0),
    counter("Udp:OutDatagrams", sc::UDP_DATAGRAMS, &["transmit"], 1.0),
    counter("Udp:RcvbufErrors", sc::UDP_ERRORS, &["receive_buffer"], 1.0),
    counter("Udp:SndbufErrors", sc::UDP_ERRORS, &["send_buffer"], 1.0),
];

const NETSTAT: &[Wanted] = &[
    counter("TcpExt:ListenOverflows", sc::TCP_LISTEN_OVERFLOWS, &[], 1.0),
    counter("TcpExt:ListenDrops", sc::TCP_LISTEN_DROPS, &[], 1.0),
    counter("TcpExt:TCPLostRetransmit", sc::TCP_LOST_RETRANSMITS, &[], 1.0),
    counter("TcpExt:TCPFastRetrans", sc::TCP_FAST_RETRANSMITS, &[], 1.0),
    counter("TcpExt:TCPTimeouts", sc::TCP_TIMEOUTS, &[], 1.0),
    counter("TcpExt:TCPAbortOnData", sc::TCP_ABORTS, &["data"], 1.0),
    counter("TcpExt:TCPAbortOnClose", sc::TCP_ABORTS, &["close"], 1.0),
    counter("TcpExt:TCPAbortOnMemory", sc::TCP_ABORTS, &["memory"], 1.0),
    counter("TcpExt:TCPAbortOnTimeout", sc::TCP_ABORTS, &["timeout"], 1.0),
    counter("TcpExt:TCPMemoryPressures", sc::TCP_MEMORY_PRESSURE, &[], 1.0),
    counter("TcpExt:TCPBacklogDrop", sc::TCP_BACKLOG_DROPS, &[], 1.0),
    counter("TcpExt:TCPOFOQueue", sc::TCP_OUT_OF_ORDER, &[], 1.0),
    counter("TcpExt:TCPSynRetrans", sc::TCP_SYN_RETRANSMITS, &[], 1.0),
    counter("TcpExt:SyncookiesSent", sc::TCP_EVENTS, &["SyncookiesSent"], 1.0),
    counter("TcpExt:SyncookiesFailed", sc::TCP_EVENTS, &["SyncookiesFailed"], 1.0),
    counter("TcpExt:PruneCalled", sc::TCP_EVENTS, &["PruneCalled"], 1.0),
    counter("TcpExt:RcvPruned", sc::TCP_EVENTS, &["RcvPruned"], 1.0),
    counter("TcpExt:DelayedACKs", sc::TCP_EVENTS, &["DelayedACKs"], 1.0),
    counter("TcpExt:TCPSackRecovery", sc::TCP_EVENTS, &["TCPSackRecovery"], 1.0),
    counter("TcpExt:TCPDSACKRecv", sc::TCP_EVENTS, &["TCPDSACKRecv"], 1.0),
    counter("TcpExt:TCPLossProbes", sc::TCP_EVENTS, &["TCPLossProbes"], 1.0),
    counter("TcpExt:TCPSpuriousRTOs", sc::TCP_EVENTS, &["TCPSpuriousRTOs"], 1.0),
    counter("TcpExt:TCPKeepAlive", sc::TCP_EVENTS, &["TCPKeepAlive"], 1.0),
    counter("TcpExt:TCPRcvQDrop", sc::TCP_EVENTS, &["TCPRcvQDrop"], 1.0),
    counter("TcpExt:TCPZeroWindowDrop", sc::TCP_EVENTS, &["TCPZeroWindowDrop"], 1.0),
    counter("TcpExt:TCPToZeroWindowAdv", sc::TCP_EVENTS, &["TCPToZeroWindowAdv"], 1.0),
    counter("TcpExt:TCPFromZeroWindowAdv", sc::TCP_EVENTS, &["TCPFromZeroWindowAdv"], 1.0),
    counter("TcpExt:TCPReqQFullDrop", sc::TCP_EVENTS, &["TCPReqQFullDrop"], 1.0),
    counter("TcpExt:TW", sc::TCP_EVENTS, &["TW"], 1.0),
    counter("TcpExt:TCPPureAcks", sc::TCP_EVENTS, &["TCPPureAcks"], 1.0),
    counter("TcpExt:TCPHPHits", sc::TCP_EVENTS, &["TCPHPHits"], 1.0),
    counter("TcpExt:TCPOrigDataSent", sc::TCP_EVENTS, &["TCPOrigDataSent"], 1.0),
    counter("IpExt:InOctets", sc::IP_BYTES, &["receive"], 1.0),
    counter("IpExt:OutOctets", sc::IP_BYTES, &["transmit"], 1.0),
];

/// The source of family `protocol`.
#[derive(Debug)]
pub struct Protocol {
    files: [(ProcFile, Keyed); 2],
}

impl Protocol {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let file = |name: &str| ProcFile::new(root.join("proc/net").join(name), 8192);
        Self { files: [(file("snmp"), Keyed::new(SNMP)), (file("netstat"), Keyed::new(NETSTAT))] }
    }
}

impl Source for Protocol {
    fn name(&self) -> &'static str {
        "protocol"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        // Both are read before either's error counts.
        let [snmp, netstat] = self.files.each_mut().map(|(file, counts)| {
            let done = update(file.read()?, counts, out);
            done.map_err(|e| e.at(file.path()))
        });
        snmp.and(netstat).map(|()| Sampled::Data)
    }
}

fn update(text: &[u8], counts: &mut Keyed, out: &mut Sample<'_>) -> Result<(), ParseError> {
    let mut hint = 0;
    let mut lines = lines(text).peekable();
    if lines.peek().is_none() {
        return Err(ParseError::new(1, "a line of names", text));
    }
    while let Some((at, names)) = lines.next() {
        let wrong = |line| ParseError::new(at, "a line of names and a line of as many numbers", line);
        let (_, numbers) = lines.next().ok_or_else(|| wrong(names))?;
        let (mut names, mut values) = (words(names), words(numbers));
        let group = names.next();
        if group.is_none() || group != values.next() {
            return Err(wrong(numbers));
        }
        let group = group.unwrap_or_default();
        for name in names {
            let value = values.next().ok_or_else(|| wrong(numbers))?;
            // Some fields may be negative (Tcp:MaxConn -1); none that is wanted is.
            let Some(value) = number(value) else { continue };
            let mut key = [0; 64];
            let length = group.len() + name.len();
            if let Some(place) = key.get_mut(..length) {
                place[..group.len()].copy_from_slice(group);
                place[group.len()..].copy_from_slice(name);
                counts.take(&key[..length], value, &mut hint, out);
            }
        }
    }
    Ok(())
}
