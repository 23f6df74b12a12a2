/**
 * How long a speaker takes to receive, decide and hand on a table: `node build/test/bgp/load-main.js [PREFIXES] [out]`.
 * With `out` a second peer is told everything. Prints one line per phase.
 */

import { localOpen } from '../../bgp/fsm/negotiate.ts';
import { type LinkId, Speaker, type Stream, type StreamHandler } from '../../bgp/speaker.ts';
import { encodeKeepalive, encodeOpen } from '../../bgp/wire/message.ts';
import { UpdatePacker } from '../../bgp/wire/update.ts';
import { Addr } from '../../router/lib/addr.ts';
import { systemClock } from '../../router/lib/clock.ts';
import { PLAIN_OFFER } from './kit/describe.ts';
import { randomFrom } from './kit/net.ts';

const PREFIXES = Number(process.argv[2] ?? 1_000_000);
const HAS_RECEIVER = process.argv[3] === 'out';
const SENDER_AS = 65101;
const CHUNK = 65_536;

/** UPDATEs for PREFIXES /24s, five per attribute set, with paths of 3 to 6 ASes. */
function table(): Uint8Array {
  const random = randomFrom(7);
  const chunks: Uint8Array[] = [];
  const settings = { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'single' } as const;
  const packer = new UpdatePacker(settings, (octets) => chunks.push(octets));
  const hop = { global: Addr.parse('10.9.9.9')!, linkLocal: undefined };
  for (let i = 0; i < PREFIXES; i += 5) {
    const rest = Array.from({ length: 2 + Math.floor(random() * 4) }, () => 1 + Math.floor(random() * 400_000));
    packer.reach(
      4,
      {
        origin: 0,
        asPath: [{ type: 2, asns: [SENDER_AS, ...rest] }],
        med: undefined,
        localPref: undefined,
        atomicAggregate: false,
        aggregator: undefined,
        communities: [((64511 << 16) | ((i / 5) % 60_000)) >>> 0],
        extendedCommunities: [],
        largeCommunities: i % 3 === 0 ? [SENDER_AS, 1, i] : [],
        originatorId: undefined,
        clusterList: [],
        otc: undefined,
        unknown: [],
      },
      hop,
    );
    for (let j = i; j < Math.min(i + 5, PREFIXES); j++) packer.add((0x01000000 + (j << 8)) | 0, 0, 0, 0, 24);
  }
  packer.endOfRib(4);
  packer.flush();
  return new Uint8Array(Buffer.concat(chunks));
}

let accept: ((stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined) | undefined;
let changes = 0;
let octetsOut = 0;
const speaker = new Speaker({
  asn: 65_002,
  routerId: Addr.parse('10.0.0.2')!,
  clock: systemClock,
  random: () => 1,
  transport: {
    connect: () => ({ abort: () => {} }),
    listen: (a) => {
      accept = a;
    },
  },
  sink: {
    apply: (batch) => {
      changes += batch.count;
    },
  },
  resolver: { isUp: () => true, subscribe: () => {} },
});
speaker.start();

/** A peer whose session is up; what is told to it is counted. */
function peer(n: number): StreamHandler {
  const address = Addr.parse(`10.8.${n}.2`)!;
  const asn = SENDER_AS - 1 + n;
  speaker.addPeer({
    name: `peer${n}`,
    address,
    link: n,
    asn,
    passive: true,
    import: 'accept-all',
    export: HAS_RECEIVER ? 'accept-all' : 'reject-all',
  });
  const stream: Stream = {
    localAddress: Addr.parse(`10.8.${n}.1`)!,
    write: (octets) => {
      octetsOut += octets.length;
      return true;
    },
    close: () => {},
  };
  const handler = accept!(stream, address, n)!;
  const open = { localAs: asn, peerAs: 65_002, identifier: 0x0a080002 + n, holdTimeS: 90, families: ['ipv4'] } as const;
  handler.data(encodeOpen(localOpen({ ...open, ...PLAIN_OFFER })));
  handler.data(encodeKeepalive());
  return handler;
}

/** Let the speaker finish what it cut into slices; returns the longest turn. */
function finish(): number {
  let worst = 0;
  for (let at = speaker.deadline(); at !== undefined && at <= systemClock.now(); at = speaker.deadline()) {
    const began = systemClock.now();
    speaker.tick(began);
    worst = Math.max(worst, systemClock.now() - began);
  }
  return worst;
}

function report(phase: string, began: number, cpu: NodeJS.CpuUsage, worst: number): void {
  const used = process.cpuUsage(cpu);
  const { ipv4, attributeSets } = speaker.totals;
  console.log(
    `${phase}: ${Math.round(systemClock.now() - began)} ms, CPU ${((used.user + used.system) / 1e6).toFixed(2)} s, ` +
      `longest turn ${worst.toFixed(1)} ms, ${ipv4} prefixes, ${attributeSets} attribute sets, ${changes} FIB changes, ` +
      `${(octetsOut / 1e6).toFixed(1)} MB sent, RSS ${Math.round(process.memoryUsage().rss / 1e6)} MB`,
  );
}

const sender = peer(1);
if (HAS_RECEIVER) peer(2);
const octets = table();
let began = systemClock.now();
let cpu = process.cpuUsage();
let worst = 0;
for (let at = 0; at < octets.length; at += CHUNK) {
  const turn = systemClock.now();
  sender.data(octets.slice(at, at + CHUNK));
  worst = Math.max(worst, systemClock.now() - turn, finish());
}
report('load', began, cpu, worst);
began = systemClock.now();
cpu = process.cpuUsage();
sender.closed('the sender went away');
worst = Math.max(systemClock.now() - began, finish());
report('withdraw', began, cpu, worst);
