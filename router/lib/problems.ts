/**
 * The registry of problems a running router reports in `status` and in its log: code, what it means, what to do.
 * `mlshim explain CODE` prints an entry. Codes are stable; the letter tells the room (C child, U uplink, B BGP, F FPM, K keys, R ROAs).
 */

export interface ProblemSpec {
  readonly title: string;
  readonly meaning: string;
  readonly hint: string;
}

export const PROBLEMS = {
  C102: {
    title: 'a configuration waits for a confirmation',
    meaning: 'It was loaded with mlshim reload --confirm. When time is up the one before comes back by itself.',
    hint: 'mlshim confirm keeps it.',
  },
  C101: {
    title: 'the WireGuard child process is being restarted',
    meaning: 'The process that encrypts ended. Connections are kept; a new one starts with the same keys and ports.',
    hint: 'If it repeats, the log shows its last words; MLSHIM_WG_BIN overrides the program.',
  },
  C103: {
    title: 'the part of the router that computes routes ended and was started again',
    meaning:
      'The routing worker stopped by a fault of its own or for lack of memory. Packets are forwarded by the routes it left until its successor knows all routes again; BGP sessions begin anew, and peers that agreed to graceful restart keep our routes meanwhile. Shown for ten minutes.',
    hint: 'The log shows why it ended: please report that. Three ends within a minute stop the router.',
  },
  U101: {
    title: 'an uplink has never completed a handshake',
    meaning: 'No answer has come from any peer of the uplink: its endpoint does not answer, or a key does not fit.',
    hint: 'Compare the public keys on both sides (mlshim wg show); check the endpoint and that UDP leaves this host.',
  },
  U102: {
    title: "an uplink's last handshake is old",
    meaning:
      'WireGuard renews keys every two minutes while there is traffic. None of the peers has answered for longer.',
    hint: 'The peer may be down, or a NAT has forgotten the mapping: persistent_keepalive: 25s keeps it.',
  },
  U103: {
    title: "an uplink's endpoint name cannot be resolved",
    meaning: "The host's resolver has no address for the name of a peer's endpoint. It is asked again every minute.",
    hint: 'Check the name, or write the address.',
  },
  U104: {
    title: 'WireGuard refused the settings of an uplink',
    meaning:
      'The device could not be configured; most often its listen_port is in use by another program (EADDRINUSE).',
    hint: 'Choose another listen_port, or leave it out. It is tried again every few seconds.',
  },
  U105: {
    title: 'probes through an uplink are not answered',
    meaning: 'Its tunnel may stand, but what is asked through it does not answer. Rules send no new flow there.',
    hint: 'mlshim uplink shows loss and time; probe.to names the targets, and probe.kind how they are asked.',
  },
  U106: {
    title: 'an uplink was taken out by hand',
    meaning: 'mlshim uplink drain: rules send no new flow there, and what uses it goes on.',
    hint: 'mlshim uplink undrain NAME puts it back.',
  },
  U107: {
    title: 'the interface of a host uplink is down',
    meaning:
      'The interface is not there, is down, or has no address; for a source uplink no interface has the address.',
    hint: 'ip address shows what the host has. The uplink is used again when the interface is back.',
  },
  U108: {
    title: 'probes of an uplink cannot be sent from here',
    meaning:
      'The host lets us have no socket for them. That says nothing about the uplink: rules go on using it as if it had no probes.',
    hint: 'Take another probe.kind (tcp, dns, http), or allow echo requests: sysctl net.ipv4.ping_group_range, or CAP_NET_RAW.',
  },
  B101: {
    title: 'a BGP peer is not established',
    meaning: 'The session is down; routes learned from it are withdrawn.',
    hint: 'mlshim bgp peer NAME shows the state and the last error.',
  },
  B102: {
    title: 'BFD does not see a BGP peer whose session stands',
    meaning:
      'The session is established, but nothing watches its path: the peer speaks no BFD, or its packets do not arrive. A path that breaks is only noticed by the hold time.',
    hint: 'mlshim bfd shows why; switch BFD on at the peer (UDP 3784, or 4784 over several hops), or bfd off here.',
  },
  B103: {
    title: "the host's sockets cannot serve BGP peers as configured",
    meaning:
      'An address of bgp.host_listen or a port of BFD is not free or not of this host, its interface is not there, or the kernel took not all passwords: peers that connect to it are not let in. Tried again every few seconds.',
    hint: 'Another routing daemon may have the port (179; BFD 3784 and 4784): choose another one, or stop it. The sysctl net.core.optmem_max limits how many passwords a listener has.',
  },
  F101: {
    title: 'the FPM server cannot listen',
    meaning:
      'The address of fpm.listen is not free or not of this host; routing daemons cannot connect. Tried every 5 s.',
    hint: 'Another daemon may have the port (2620 is also the default of other FPM servers): change fpm.listen.',
  },
  F102: {
    title: 'no routing daemon is connected to the FPM server',
    meaning: 'Its routes stay for fpm.hold_time after it went; then they are removed.',
    hint: 'FRR connects when zebra runs with "-M dplane_fpm_nl" and "fpm address 127.0.0.1 port 2620".',
  },
  F103: {
    title: 'a routing daemon sent routes whose next hops are behind no uplink',
    meaning:
      'A gateway is looked up among the prefixes of our uplinks and routes; a link-local one, or none, goes by the interface.',
    hint: 'fpm.interfaces says which uplink an interface of the daemon stands for: interfaces: { eth0: UPLINK }.',
  },
  R101: {
    title: 'there are no ROAs',
    meaning:
      'No source of bgp.rpki has delivered anything: the origin of every route is unknown. A policy that wants valid ' +
      'routes only, as dn42 does, accepts none.',
    hint: 'mlshim bgp rpki shows the sources and their last errors.',
  },
  R102: {
    title: 'a file of ROAs cannot be used',
    meaning: 'It could not be read or understood. The ROAs of its last good reading stay in use.',
    hint: 'Correct it; it is read again when it changes, and by mlshim bgp rpki refresh.',
  },
  R103: {
    title: 'an RPKI cache fails',
    meaning: 'The RTR server did not answer or made a mistake. Its ROAs stay in use until they expire.',
    hint: 'mlshim bgp rpki shows when they expire; check host and port.',
  },
  R104: {
    title: 'a file of ROAs is old',
    meaning: 'It was written more than a day ago. New prefixes of others are refused, given up ones accepted.',
    hint: 'Let cron or a timer fetch it every 15 minutes, or give the URL instead of a file.',
  },
} as const satisfies Record<string, ProblemSpec>;
