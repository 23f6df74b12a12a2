/**
 * How long a speaker takes to receive, decide and install a full table, in this process:
 * `node build/test/bgp/load-main.js [--ipv4 1000000] [--ipv6 0] [--peers 1] [--out] [--no-fib]`.
 * Phases: every peer sends the same table, 1,000 prefixes change, policy changes, a peer goes away, the rest withdraws.
 * With `--out` one more peer is told everything. Prints one line per phase: time, CPU, the longest turn, memory.
 */

import { execFileSync } from 'node:child_process';
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { localOpen } from '../../bgp/fsm/negotiate.ts';
import { type LinkId, Speaker, type Stream, type StreamHandler } from '../../bgp/speaker.ts';
import { encodeKeepalive, encodeOpen } from '../../bgp/wire/message.ts';
import { RibToFib } from '../../router/app/rib-to-fib.ts';
import { FibWriter } from '../../router/fib/writer.ts';
import { Addr } from '../../router/lib/addr.ts';
import { systemClock } from '../../router/lib/clock.ts';
import { PLAIN_OFFER } from './kit/describe.ts';
import { internetTable, type TableOptions, withdrawnTable } from './kit/table.ts';

const { values } = parseArgs({
  options: {
    ipv4: { type: 'string', default: '1000000' },
    ipv6: { type: 'string', default: '0' },
    peers: { type: 'string', default: '1' },
    out: { type: 'boolean', default: false },
    'no-fib': { type: 'boolean', default: false },
    'load-only': { type: 'boolean', default: false },
    /** Write the table of this peer to standard output and do nothing else. */
    emit: { type: 'string' },
  },
});
const PEERS = Number(values.peers);
/** Octets handed on at a time, as router/app/fair-reads.ts does. */
const CHUNK = 8192;
const FIB_SLICE = 4096;
const SENDER_AS = 65_100;

const fib = new FibWriter();
let accept: ((stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined) | undefined;
let changes = 0;
let octetsOut = 0;
let worst = 0;
let worstCpu = 0;
const rib2fib = new RibToFib(fib, Number, () => fib.takeChangedShared());
const speaker = new Speaker({
  asn: 65_002,
  routerId: Addr.parse('10.0.0.2')!,
  clock: systemClock,
  random: () => 1,
  prefixes: (family) => fib.prefixes(0, family),
  transport: {
    connect: () => ({ abort: () => {} }),
    listen: (a) => {
      accept = a;
    },
  },
  sink: {
    apply: (batch) => {
      changes += batch.count;
      if (!values['no-fib']) rib2fib.apply(batch);
    },
  },
  resolver: { isUp: () => true, subscribe: () => {} },
});
speaker.start();

/** A peer whose session is up; what is told to it is counted. */
function peer(n: number, isReceiver: boolean): StreamHandler {
  const address = Addr.parse(`10.8.${n}.2`)!;
  const asn = SENDER_AS + n;
  speaker.addPeer({
    name: `peer${n}`,
    address,
    link: n,
    asn,
    passive: true,
    import: isReceiver ? 'reject-all' : 'accept-all',
    export: isReceiver ? 'accept-all' : 'reject-all',
    nextHop6: Addr.parse('fd00::1')!,
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
  const facts = { localAs: asn, peerAs: 65_002, identifier: 0x0a080002 + n, holdTimeS: 90 };
  handler.data(encodeOpen(localOpen({ ...PLAIN_OFFER, ...facts, families: ['ipv4', 'ipv6'] })));
  handler.data(encodeKeepalive());
  return handler;
}

/** Run one turn of the event loop and remember the longest, in time and in CPU time, which a busy machine does not stretch. */
function turn(act: () => void): void {
  const began = systemClock.now();
  const cpu = process.cpuUsage();
  act();
  worst = Math.max(worst, systemClock.now() - began);
  const used = process.cpuUsage(cpu);
  worstCpu = Math.max(worstCpu, (used.user + used.system) / 1000);
}

/** Let the speaker finish what it cut into slices. */
function finish(): void {
  for (;;) {
    const at = speaker.deadline();
    const now = systemClock.now();
    if (at === undefined || at > now) break;
    turn(() => speaker.tick(now));
  }
  if (fib.isBuilding) turn(() => fib.work(FIB_SLICE));
}

function phase(name: string, act: () => void): void {
  worst = 0;
  worstCpu = 0;
  changes = 0;
  const began = systemClock.now();
  const cpu = process.cpuUsage();
  act();
  finish();
  const used = process.cpuUsage(cpu);
  const { ipv4, ipv6, attributeSets } = speaker.totals;
  console.log(
    `${name}: ${Math.round(systemClock.now() - began)} ms, CPU ${((used.user + used.system) / 1e6).toFixed(2)} s, ` +
      `longest turn ${worst.toFixed(1)} ms (CPU ${worstCpu.toFixed(1)}); ${ipv4} + ${ipv6} prefixes, ${attributeSets} attribute sets, ` +
      `${changes} FIB changes, ${(octetsOut / 1e6).toFixed(1)} MB sent, RSS ${Math.round(process.memoryUsage().rss / 1e6)} MB`,
  );
}

function feed(to: StreamHandler, octets: Uint8Array): void {
  for (let at = 0; at < octets.length; at += CHUNK) {
    turn(() => to.data(octets.slice(at, at + CHUNK)));
    finish();
  }
}

const table = (n: number): TableOptions => ({
  ipv4: Number(values.ipv4),
  ipv6: Number(values.ipv6),
  firstAs: SENDER_AS + n,
  nextHop4: Addr.parse('10.9.9.9')!,
  nextHop6: Addr.parse('fd09::9')!,
});

if (values.emit !== undefined) {
  writeSync(1, internetTable(table(Number(values.emit))));
  process.exit(0);
}

/** Tables are made by other processes, so that the memory shown is the speaker's. */
function madeTable(n: number): Uint8Array {
  const args = [fileURLToPath(import.meta.url), '--emit', String(n), '--ipv4', values.ipv4, '--ipv6', values.ipv6];
  return execFileSync(process.execPath, args, { maxBuffer: 2 ** 31 });
}

const senders = Array.from({ length: PEERS }, (_, i) => peer(i + 1, false));
if (values.out) peer(PEERS + 1, true);
const tables = senders.map((_, i) => madeTable(i + 1));
console.log(
  `before: RSS ${Math.round(process.memoryUsage().rss / 1e6)} MB, with tables of ${tables[0]!.length} octets`,
);
senders.forEach((sender, i) => {
  phase(`load ${i + 1}`, () => feed(sender, tables[i]!));
});
if (values['load-only']) process.exit(0);
const few = internetTable({ ...table(1), ipv4: 1000, ipv6: 0, nextHop4: Addr.parse('10.9.9.8')! });
phase('change 1000', () => feed(senders[0]!, few));
phase('policy', () => turn(() => speaker.setPolicies('peer1', { import: [{ action: 'accept', set: { med: 5 } }] })));
phase('peer down', () => turn(() => senders[0]!.closed('the sender went away')));
for (let i = 1; i < PEERS; i++) {
  const withdrawn = withdrawnTable(table(i + 1));
  phase(`withdraw ${i + 1}`, () => feed(senders[i]!, withdrawn));
}
