/** Answers of a daemon, as the golden texts show them. */
import type {
  BfdSessions,
  BgpEvent,
  BgpExplanation,
  BgpPeers,
  BgpRouteStatus,
  BgpRoutes,
  BgpRule,
  BgpVpnRoutes,
  Reloaded,
  RouteAnswer,
  Routes,
  RpkiStatus,
  Status,
} from '../../../router/control/messages.ts';

const PEER = {
  uplink: 'dn42',
  local_address: 'fe80::1080',
  hold_time_s: 90,
  keepalive_s: 30,
  capabilities: ['multiprotocol ipv4', 'multiprotocol ipv6', 'extended next hop', '4-octet AS'],
  local_capabilities: ['multiprotocol ipv4', 'multiprotocol ipv6', 'extended next hop', '4-octet AS'],
  stale: 0,
  restart: [],
  remote_id: '172.20.53.98',
  messages_in: 1201,
  messages_out: 1188,
  bfd: '',
  families: [],
  timers_s: {},
  faults: 0,
  last_fault: '',
  filter_errors: 0,
  last_filter_error: '',
  establishments: 0,
  last_error_origin: '',
  retry_error: '',
  import_policy: 'all',
  export_policy: 'own',
  description: '',
} as const;

export const BFD: BfdSessions = {
  sessions: [
    {
      peers: ['kioubit'],
      address: 'fe80::ade0',
      uplink: 'kioubit',
      local_address: 'fe80::1080',
      multihop: false,
      auth: '',
      state: 'Up',
      since_s: 183_600,
      remote_state: 'Up',
      diag: 'no diagnostic',
      remote_diag: 'no diagnostic',
      tx_ms: 300,
      rx_ms: 300,
      detection_ms: 900,
      multiplier: 3,
      remote_multiplier: 3,
      discriminator: 0x1234abcd,
      remote_discriminator: 77,
      packets_in: 700_123,
      packets_out: 700_200,
      flaps: 0,
    },
    {
      peers: ['core'],
      address: '172.20.229.120',
      uplink: '',
      local_address: '172.20.229.117',
      multihop: true,
      auth: 'meticulous-keyed-sha1',
      state: 'Down',
      since_s: 130,
      remote_state: 'Down',
      diag: 'control detection time expired',
      remote_diag: 'no diagnostic',
      tx_ms: 1000,
      rx_ms: 300,
      detection_ms: 0,
      multiplier: 5,
      remote_multiplier: 3,
      discriminator: 5,
      remote_discriminator: 0,
      packets_in: 12,
      packets_out: 4000,
      flaps: 2,
    },
  ],
  drops: { ttl: 3, 'no-session': 1 },
};

export const BGP: BgpPeers = {
  asn: 4242421080,
  router_id: '172.20.229.117',
  peers: [
    {
      ...PEER,
      name: 'AS4242420263',
      asn: 4242420263,
      address: 'fe80::2425',
      state: 'Established',
      bfd: 'Up',
      since_s: 183_600,
      received: 612,
      accepted: 598,
      advertised: 4,
      last_error: '',
      families: [
        { family: 'ipv4', received: 400, accepted: 390, advertised: 3, stale: 0, next_hop: 'fe80::1080' },
        { family: 'ipv6', received: 212, accepted: 208, advertised: 1, stale: 0, next_hop: 'fd42::1 fe80::1080' },
      ],
      timers_s: { hold: 71.25, keepalive: 12 },
      faults: 1,
      last_fault: 'ORIGIN with value 7',
      establishments: 3,
      description: 'Kioubit in Frankfurt',
    },
    {
      ...PEER,
      name: 'kioubit',
      asn: 4242423914,
      address: 'fe80::ade0',
      uplink: 'kioubit',
      state: 'Active',
      since_s: 130,
      received: 0,
      accepted: 0,
      advertised: 0,
      last_error: 'connection refused',
      last_error_origin: 'transport',
      last_error_age_s: 12,
      timers_s: { connect_retry: 3.5 },
      import_policy: 'no-default, sane',
      export_policy: 'rules (3)',
      filter_errors: 2,
      last_filter_error: '/etc/mlshim/filters.mjs:12:9: TypeError: route.path is undefined',
      stale: 598,
      restart: ['ipv4 away, 71 s left'],
      remote_id: '',
      hold_time_s: 0,
    },
  ],
};

const UPLINK = {
  kind: 'wg',
  mtu: 1420,
  addresses: [],
  rx_packets: 0,
  rx_bytes: 0,
  tx_packets: 0,
  tx_bytes: 0,
  tx_dropped: 0,
  rx_bits_per_s: 0,
  tx_bits_per_s: 0,
  usable: true,
  drained: false,
  flows: 0,
  decisions: 0,
  failures: 0,
  peak_bits_per_s: 0,
  reason: '',
} as const;

/** The neighbour said goodbye, and refuses our attempts since then. */
export const GOODBYE: BgpPeers = {
  ...BGP,
  peers: [
    {
      ...BGP.peers[1]!,
      last_error: 'administrative shutdown: "back at 9"',
      last_error_origin: 'received',
      last_error_age_s: 125,
      retry_error: 'closed by the peer',
      stale: 0,
      restart: [],
    },
  ],
};

export const STATUS: Status = {
  version: '0.3.0',
  pid: 812,
  uptime_s: 3 * 86400 + 4 * 3600 + 59,
  state: 'running',
  config: 'mlshim.yaml',
  apps: 4,
  flows: 212,
  routes_ipv4: 1418,
  routes_ipv6: 902,
  problems: [
    { code: 'U101', text: 'uplink kioubit: no handshake yet' },
    { code: 'B101', text: 'bgp peer kioubit: Active (connection refused)' },
  ],
  uplinks: [
    {
      ...UPLINK,
      name: 'dn42',
      index: 2,
      state: 'up',
      handshake_age_s: 71,
      rx_bits_per_s: 180_400,
      tx_bits_per_s: 96e3,
    },
    {
      ...UPLINK,
      name: 'kioubit',
      index: 3,
      state: 'down',
      tx_dropped: 17,
      usable: false,
      rtt_ms: 21.04,
      rtt_variation_ms: 3.5,
      loss: 0.75,
    },
    {
      ...UPLINK,
      name: 'home',
      index: 4,
      mtu: 1380,
      state: 'idle',
      handshake_age_s: 4000,
      rx_bits_per_s: 4.12e7,
      tx_bits_per_s: 2.2e6,
    },
  ],
  bgp_peers: BGP.peers,
  fpm: {
    listen: '127.0.0.1:2620',
    state: 'connected',
    client: '127.0.0.1:40112',
    encoding: 'netlink',
    since_s: 7260,
    routes: 12,
    unresolved: 1,
    stale: 0,
    next_hops: 9,
    messages: 40,
    unknown: 0,
    malformed: 0,
    ignored: 5,
    last_error: '',
  },
  drops: {},
  counters: {},
  shim_socket: '/run/user/1000/mlshim/shim',
  backend: 'userspace',
  backend_reason: '',
};

const ANSWER: RouteAnswer = {
  dst: '172.23.0.53',
  kind: 'unicast',
  next_hops: [{ gateway: 'fe80::2425', uplink: 'dn42', weight: 1 }],
  source: '172.20.229.117',
  mtu: 1420,
  prefix: '172.23.0.0/24',
  origin: 'ebgp',
  reasons: ['table main: 172.23.0.0/24, BGP best of 3: AS path 4242420263 4242422601 (2), localpref 100'],
};

export const ROUTE_ANSWERS: readonly RouteAnswer[] = [
  ANSWER,
  {
    ...ANSWER,
    dst: '198.51.100.7',
    next_hops: [
      { gateway: '', uplink: 'fiber', weight: 3 },
      { gateway: '', uplink: 'lte', weight: 1 },
    ],
    reasons: ['table main: 0.0.0.0/0, static, distance 1'],
  },
  {
    ...ANSWER,
    dst: '172.20.229.117',
    kind: 'local',
    next_hops: [],
    reasons: ['172.20.229.117 is an address of uplink dn42'],
  },
  {
    ...ANSWER,
    dst: '203.0.113.9',
    kind: 'blackhole',
    next_hops: [],
    reasons: ['table main: 203.0.113.0/24, static, distance 1'],
  },
  {
    ...ANSWER,
    dst: '192.0.2.1',
    kind: 'none',
    next_hops: [],
    reasons: ['no prefix of the IPv4 table contains 192.0.2.1'],
  },
];

export const ROUTES: Routes = {
  routes: [
    { prefix: '0.0.0.0/0', kind: 'unicast', origin: 'static', next_hops: ROUTE_ANSWERS[1]!.next_hops, detail: '' },
    {
      prefix: '10.0.0.0/24',
      kind: 'unicast',
      origin: 'connected',
      next_hops: [{ gateway: '', uplink: 'home', weight: 1 }],
      detail: '',
    },
    { prefix: '172.23.0.0/24', kind: 'unicast', origin: 'ebgp', next_hops: ANSWER.next_hops, detail: '' },
    { prefix: '203.0.113.0/24', kind: 'blackhole', origin: 'static', next_hops: [], detail: '' },
  ],
  next: '',
};

const ROUTE = {
  prefix: '172.23.0.0/24',
  peer: 'AS4242420263',
  best: true,
  next_hop: 'fe80::2425',
  uplink: 'dn42',
  as_path: '4242420263 4242422601',
  origin: 'IGP',
  local_pref: 100,
  communities: [],
  refused: '',
  roa: '',
  cluster_list: [],
} as const;

/** With all that a route may say. */
export const ROUTE_IN_FULL: BgpRouteStatus = {
  ...ROUTE,
  med: 20,
  communities: ['64511:3', '4242421080:1:2', 'rt:64511:7'],
  roa: 'valid',
  age_s: 12.5,
  otc: 4242420263,
  originator_id: '10.0.0.4',
  cluster_list: ['10.255.0.1', '10.255.0.2'],
  aggregator: { asn: 4242422601, address: '10.0.0.9' },
};

/** Paths of which one, and a reason, have no room beside the rest. */
export const BGP_ROUTES_LONG: BgpRoutes = {
  next: '',
  place: '',
  routes: [
    ROUTE,
    { ...ROUTE, prefix: '172.23.1.0/24', as_path: Array.from({ length: 12 }, (_, i) => 4242420100 + i).join(' ') },
    { ...ROUTE, prefix: 'fd42:4242:2601::/48', age_s: 273_600, stale: true, roa: 'valid' },
    { ...ROUTE, prefix: '172.23.5.0/24', best: false, refused: 'leaked: only to customers (RFC 9234)' },
  ],
};

export const BGP_ROUTES: BgpRoutes = {
  next: '',
  place: '',
  routes: [ROUTE, { ...ROUTE, prefix: 'fd42:23::/48', best: false, peer: 'kioubit', med: 20, origin: 'incomplete' }],
};

/** As received: none of the second prefix can be used. */
export const BGP_ROUTES_IN: BgpRoutes = {
  next: '',
  place: '',
  routes: [
    ROUTE,
    { ...ROUTE, prefix: '172.23.5.0/24', best: false, refused: 'refused by import policy' },
    { ...ROUTE, prefix: '172.23.6.0/24', best: false, refused: 'next hop is unreachable' },
  ],
};

/** Of a VRF of this router, and two paths to one prefix of another one's, with labels. */
export const BGP_VPN: BgpVpnRoutes = {
  next: '',
  routes: [
    {
      rd: '64601:1',
      prefix: '192.168.1.0/24',
      label: 3,
      next_hop: '10.1.0.1',
      peer: '(vrf red)',
      best: true,
      as_path: '',
      origin: 'IGP',
      local_pref: 100,
      targets: ['64601:100'],
      communities: [],
      vrfs: ['blue'],
      unreachable: false,
    },
    {
      rd: '10.0.0.2:7',
      prefix: 'fd09::/48',
      label: 1006,
      next_hop: '10.0.0.2',
      peer: 'pe2',
      best: true,
      as_path: '64700 64701',
      origin: 'incomplete',
      local_pref: 200,
      med: 5,
      targets: ['64601:100', '64601:200'],
      communities: ['64601:5'],
      vrfs: [],
      unreachable: false,
    },
    {
      rd: '10.0.0.2:7',
      prefix: 'fd09::/48',
      label: 1007,
      next_hop: '10.0.0.3',
      peer: 'pe3',
      best: false,
      as_path: '64700 64701',
      origin: 'IGP',
      local_pref: 100,
      targets: ['64601:100'],
      communities: [],
      vrfs: [],
      unreachable: true,
    },
  ],
};

export const BGP_ROUTES_ROA: BgpRoutes = {
  next: '',
  place: '',
  routes: [
    { ...ROUTE, roa: 'valid', age_s: 273_600, stale: true },
    { ...ROUTE, prefix: '172.23.1.0/24', best: false, roa: 'invalid', refused: 'refused by import policy', age_s: 61 },
    { ...ROUTE, prefix: 'fd42:23::/48', roa: 'unknown' },
  ],
};

export const RPKI: RpkiStatus = {
  vrps_ipv4: 1756,
  vrps_ipv6: 1552,
  loading: false,
  revalidated: 4210,
  not_refreshed: ['[fd42:d42:d42:8::1]:8282: connection refused', 'extra.conf: line 7: host bits set in 172.20.0.1/24'],
  servers: [
    {
      name: 'rpki.example.net:8282',
      uplink: '',
      preference: 1,
      state: 'synchronized',
      version: 1,
      session_id: 4660,
      serial: 812,
      vrps: 3308,
      updated_s: 62,
      expires_s: 7138,
      last_error: '',
    },
    {
      name: '[fd42:d42:d42:8::1]:8282',
      uplink: 'dn42',
      preference: 2,
      state: 'waiting',
      version: 1,
      vrps: 0,
      last_error: 'connection refused',
    },
  ],
  files: [
    { name: 'dn42_roa_46.json', vrps: 3308, read_s: 12, age_s: 840, failures: 0, last_error: '' },
    { name: 'extra.conf', vrps: 0, failures: 3, last_error: 'line 7: host bits set in 172.20.0.1/24' },
  ],
};

const REFUSED_BY = 'refused by import rule 2 "default route" of bogons (mlshim.yaml:12)';

export const EXPLANATION: BgpExplanation = {
  prefix: '172.23.0.0/24',
  candidates: [
    { route: ROUTE, lost_by: '' },
    {
      route: {
        ...ROUTE,
        best: false,
        peer: 'kioubit',
        next_hop: 'fe80::ade0',
        as_path: '4242423914 4242422601 4242422601',
      },
      lost_by: 'longer AS path',
    },
  ],
  roas: [],
  imports: [],
};

export const EXPLANATION_ROA: BgpExplanation = {
  prefix: '172.23.0.0/24',
  candidates: [
    { route: { ...ROUTE, roa: 'valid', age_s: 7 }, lost_by: '' },
    {
      route: {
        ...ROUTE,
        best: false,
        peer: 'kioubit',
        as_path: '4242423914 64511',
        roa: 'invalid',
        refused: 'refused by import policy',
      },
      lost_by: 'refused by import policy',
    },
  ],
  roas: ['172.23.0.0/24 max 24 AS4242422601', '172.20.0.0/14 max 28 AS4242420053'],
  imports: [],
};

export const EXPLANATION_NONE: BgpExplanation = {
  prefix: '172.23.5.0/24',
  candidates: [{ route: BGP_ROUTES_IN.routes[1]!, lost_by: 'refused by import policy' }],
  roas: [],
  imports: [],
};

export const RELOADED: Reloaded = {
  file: 'mlshim.yaml',
  changes: [
    { path: 'uplinks.kioubit', kind: 'added', before: '', after: '', effect: 'live' },
    { path: 'uplinks.dn42.mtu', kind: 'changed', before: '1420', after: '1380', effect: 'uplink' },
    { path: 'routes.203.0.113.0/24', kind: 'removed', before: '', after: '', effect: 'live' },
    { path: 'bgp.asn', kind: 'changed', before: '65001', after: '65002', effect: 'restart' },
    { path: 'bgp.peers.kioubit', kind: 'added', before: '', after: '', effect: 'live' },
    { path: 'bgp.peers.burble', kind: 'removed', before: '', after: '', effect: 'live' },
    { path: 'bgp.peers.dn42.export', kind: 'changed', before: 'all', after: 'own', effect: 'live' },
    { path: 'bgp.peers.dn42.password', kind: 'changed', before: '(secret)', after: '(secret)', effect: 'session' },
  ],
  applied: false,
  reverts_in_s: 0,
};

export const NOTHING_CHANGED: Reloaded = { file: 'mlshim.yaml', changes: [], applied: true, reverts_in_s: 0 };

const EVENT: BgpEvent = {
  time_ms: 0,
  kind: 'session',
  peer: 'kioubit',
  from: 'Established',
  to: 'Idle',
  why: 'hold timer expired',
  prefix: '',
  as_path: '',
  next_hops: [],
};

export const EVENTS: readonly BgpEvent[] = [
  EVENT,
  { ...EVENT, from: 'OpenConfirm', to: 'Established', why: '' },
  {
    ...EVENT,
    kind: 'route',
    prefix: '172.23.0.0/24',
    to: 'unicast',
    why: '',
    as_path: '4242423914 4242422601',
    next_hops: ['fe80::ade0%kioubit', 'fe80::2425%dn42'],
  },
  { ...EVENT, kind: 'route', prefix: '172.23.0.0/24', to: 'withdrawn', why: '' },
  { ...EVENT, kind: 'route', prefix: '172.23.9.9/32', to: 'blackhole', why: '' },
];

const RULE: BgpRule = {
  policy: 'transit-in',
  list: 'bogons',
  number: 2,
  name: 'default route',
  place: 'mlshim.yaml:12',
  error: '',
};

export const EXPLANATION_RULE: BgpExplanation = {
  prefix: '0.0.0.0/0',
  candidates: [
    {
      route: { ...ROUTE, prefix: '0.0.0.0/0', best: false, refused: REFUSED_BY },
      lost_by: REFUSED_BY,
      rule: RULE,
    },
  ],
  roas: [],
  imports: [],
};

export const TELLINGS: readonly BgpExplanation[] = [
  {
    prefix: '172.23.0.0/24',
    candidates: [{ route: ROUTE, lost_by: '' }],
    roas: [],
    imports: [],
    telling: {
      peer: 'kioubit',
      told: true,
      routes: [
        {
          ...ROUTE,
          peer: 'kioubit',
          best: false,
          next_hop: 'fe80::1080',
          as_path: '4242421080 4242420263 4242422601',
          med: 300,
          communities: ['64511:3', '64511:24', '64511:34', '4242421080:1:2'],
          otc: 4242421080,
          originator_id: '10.0.0.4',
          cluster_list: ['10.255.0.1'],
          aggregator: { asn: 4242422601, address: '10.0.0.9' },
        },
      ],
      why: 'passed by export rule 2 of transit-out (mlshim.yaml:20)',
      rule: { policy: 'transit-out', list: '', number: 2, name: '', place: 'mlshim.yaml:20', error: '' },
      vpn: [],
    },
  },
  {
    prefix: '172.23.0.0/24',
    candidates: [{ route: ROUTE, lost_by: '' }],
    roas: [],
    imports: [],
    telling: {
      peer: 'core',
      told: false,
      routes: [],
      why: 'refused: the export function toCore failed: /etc/mlshim/filters.mjs:12:9: TypeError: route.path is undefined',
      rule: { ...RULE, policy: 'module toCore', list: '', number: 0, name: '', place: '', error: 'TypeError' },
      vpn: [],
    },
  },
  {
    prefix: '10.1.0.0/16',
    candidates: [],
    roas: [],
    imports: [],
    telling: { peer: 'core', told: false, routes: [], why: 'there is no route to it', vpn: [] },
  },
  {
    prefix: '192.168.1.0/24',
    candidates: [],
    roas: [],
    imports: [],
    telling: {
      peer: 'pe2',
      told: false,
      routes: [],
      why: 'there is no route to it',
      vpn: [
        {
          route: BGP_VPN.routes[0]!,
          told: true,
          told_as: { ...BGP_VPN.routes[0]!, communities: ['64601:7'], med: 5 },
          why: 'passed by export rule 2 of core-out (mlshim.yaml:31)',
          rule: { ...RULE, policy: 'core-out', list: '', number: 2, name: '', place: 'mlshim.yaml:31' },
        },
        {
          route: { ...BGP_VPN.routes[1]!, prefix: '192.168.1.0/24', rd: '64601:9' },
          told: false,
          why: 'refused by export rule 1 "no tens" of core-out (mlshim.yaml:30)',
          rule: { ...RULE, policy: 'core-out', list: '', number: 1, name: 'no tens', place: 'mlshim.yaml:30' },
        },
      ],
    },
  },
  {
    prefix: '172.23.0.0/24',
    candidates: [{ route: ROUTE, lost_by: '' }],
    roas: [],
    imports: [],
    telling: {
      peer: 'pe2',
      told: false,
      routes: [],
      why: '',
      vpn: [
        {
          route: { ...BGP_VPN.routes[0]!, prefix: '172.23.0.0/24' },
          told: false,
          why: 'it has the community no-export',
        },
      ],
    },
  },
];

/** From the side of a VRF that has one of three VPN routes. */
export const EXPLANATION_VRF: BgpExplanation = {
  ...EXPLANATION,
  prefix: 'fd09::/48',
  imports: [
    {
      route: { ...BGP_VPN.routes[0]!, prefix: 'fd09::/48', peer: '(vrf blue)' },
      imported: true,
      why: 'imported by 64601:100: lost: AS path length',
    },
    {
      route: BGP_VPN.routes[1]!,
      imported: false,
      why: 'not imported: packets would need label 1006, and there is no MPLS here',
    },
    {
      route: { ...BGP_VPN.routes[2]!, vrfs: [] },
      imported: false,
      why: 'refused by import rule 2 "no tens" of core-in (mlshim.yaml:30)',
    },
  ],
};
