/** What the BGP benchmark does with a receiver: one function per scenario, each with a fresh daemon. */
import { ask } from '../../router/control/client.ts';
import { announcements, endOfRib, withdrawals } from './bgp-encode.ts';
import { type BgpLab, monotonicMs, type Took } from './bgp-lab.ts';
import {
  BirdReceiver,
  type Counts,
  cpuOf,
  Mlshim,
  memoryOf,
  NEXT_HOP6,
  type Neighbour,
  PORT,
  pause,
  RECEIVER_ASN,
  type Receiver,
} from './bgp-receivers.ts';
import type { End } from './bgp-replayer.ts';
import { dn42Tables, type Table } from './bgp-table.ts';
import { FarEnd, withTraffic } from './bgp-traffic.ts';
import type { Samples } from './table.ts';

const FEEDER = { address: '127.0.0.6', asn: 65003 } as const;
const SINKS = 10;
const FLAPPED = 100_000;
const CHURNED = 1000;
const DN42_PEERS = 20;
/** Next hops that tell churned routes from others: on the same link. */
const OTHER_HOP4 = [10, 9, 9, 10] as const;
/** ASes of documentation (RFC 5398 §4), which make paths longer. */
const DETOUR = 64496;

/** Run a scenario with a receiver that is stopped afterwards, whatever happens. */
async function using(receiver: Receiver, neighbours: readonly Neighbour[], body: () => Promise<void>): Promise<void> {
  try {
    await receiver.start(neighbours);
    await body();
  } finally {
    await receiver.stop();
  }
}

const senders = (lab: BgpLab, count: number): Neighbour[] =>
  lab.addresses(1, count).map((address, i) => ({ address, asn: lab.asn(i), role: 'sender' }));

const openSenders = (lab: BgpLab, to: Receiver, count: number) =>
  lab.replayer.open(lab.addresses(1, count), { address: to.address, port: PORT }, (i) => lab.asn(i));

const isFull = (lab: BgpLab, paths: number) => (c: Counts) =>
  c.accepted === lab.prefixes * paths && c.installed === lab.prefixes;

/** Everybody's whole table at the same time; returns when the receiver has accepted and installed all. */
async function loadAll(lab: BgpLab, receiver: Receiver, count: number): Promise<{ ends: readonly End[]; took: Took }> {
  const files = Array.from({ length: count }, (_, i) => lab.load(i));
  const { ends, last } = await openSenders(lab, receiver, count);
  const cpu = cpuOf(receiver.pid);
  for (const [i, end] of ends.entries()) void lab.replayer.send([end], files[i]!).sent;
  const took = await lab.reach(receiver, last, cpu, isFull(lab, count), `a load from ${count}`);
  return { ends, took };
}

function addLoad(samples: Samples, what: string, receiver: Receiver, took: Took): void {
  samples.add(`${what}, ${receiver.name}`, 's', took.seconds);
  samples.add(`${what}, ${receiver.name} CPU`, 's', took.cpuSeconds);
  samples.add(`${what}, ${receiver.name} peak memory`, 'MiB', memoryOf(receiver.pid, 'VmHWM'));
}

/** One sender: load, churn (mlshim), withdraw. */
export async function fullTable(lab: BgpLab, receiver: Receiver, samples: Samples): Promise<void> {
  const { name } = receiver;
  await using(receiver, senders(lab, 1), async () => {
    const empty = memoryOf(receiver.pid, 'VmRSS');
    const { ends, took } = await loadAll(lab, receiver, 1);
    addLoad(samples, 'full table', receiver, took);
    samples.add(`empty daemon, ${name}`, 'MiB', empty);
    if (isMlshim(receiver)) {
      await addTurns(samples, 'full table', receiver);
      await churn(lab, receiver, ends, samples);
    }
    const cpu = cpuOf(receiver.pid);
    const began = monotonicMs();
    void lab.replayer.send(ends, lab.withdrawal()).sent;
    const isEmpty = (c: Counts): boolean => c.accepted === 0 && c.installed === 0;
    const gone = await lab.reach(receiver, began, cpu, isEmpty, 'the withdrawal');
    samples.add(`withdraw all, ${name}`, 's', gone.seconds);
    samples.add(`withdraw all, ${name} CPU`, 's', gone.cpuSeconds);
    await lab.replayer.close(ends);
  });
}

/** Fed by a BIRD that has the table itself; from the first route that is seen to the last. */
export async function live(lab: BgpLab, receiver: Receiver, samples: Samples): Promise<void> {
  const feeder = new BirdReceiver(FEEDER.address, FEEDER.asn);
  await using(
    feeder,
    [...senders(lab, 1), { address: receiver.address, asn: RECEIVER_ASN, role: 'feed' }],
    async () => {
      const { ends } = await loadAll(lab, feeder, 1);
      await using(receiver, [{ ...FEEDER, role: 'sender' }], async () => {
        const cpu = cpuOf(receiver.pid);
        await feeder.enable(1);
        const first = await lab.reach(receiver, monotonicMs(), cpu, (c) => c.accepted > 0, 'the first route of BIRD');
        const took = await lab.reach(receiver, monotonicMs(), cpu, isFull(lab, 1), 'a load from BIRD');
        samples.add(`fed by BIRD, ${receiver.name}`, 's', took.seconds);
        samples.add(`fed by BIRD, ${receiver.name} CPU`, 's', took.cpuSeconds);
        samples.add(`fed by BIRD, ${receiver.name}, routes at the start of the clock`, '', first.counts.accepted);
      });
      await lab.replayer.close(ends);
    },
  );
}

/** Four senders with the same prefixes and different paths. */
export async function fourSenders(lab: BgpLab, receiver: Receiver, samples: Samples): Promise<void> {
  await using(receiver, senders(lab, 4), async () => {
    const { ends, took } = await loadAll(lab, receiver, 4);
    addLoad(samples, 'four senders', receiver, took);
    if (isMlshim(receiver)) await addTurns(samples, 'four senders', receiver);
    await lab.replayer.close(ends);
  });
}

/** The full table to ten peers that come at the same time. */
export async function tenSinks(lab: BgpLab, receiver: Receiver, samples: Samples): Promise<void> {
  const addresses = lab.addresses(2, SINKS);
  const sinks = addresses.map((address, i): Neighbour => ({ address, asn: 65301 + i, role: 'sink' }));
  await using(receiver, [...senders(lab, 1), ...sinks], async () => {
    const { ends } = await loadAll(lab, receiver, 1);
    const cpu = cpuOf(receiver.pid);
    const readersBefore = await lab.replayer.cpuSeconds();
    const to = { address: receiver.address, port: PORT };
    const opened = await lab.replayer.open(addresses, to, (i) => 65301 + i);
    const { at, octets } = await lab.replayer.complete(opened.ends);
    samples.add(`ten peers told, ${receiver.name}`, 's', (at - opened.first) / 1000);
    samples.add(`ten peers told, ${receiver.name} CPU`, 's', cpuOf(receiver.pid) - cpu);
    samples.add(`ten peers told, ${receiver.name} peak memory`, 'MiB', memoryOf(receiver.pid, 'VmHWM'));
    samples.add(`ten peers told, ${receiver.name} octets`, 'MB', octets / 1e6);
    samples.add('ten peers told, CPU of the readers', 's', (await lab.replayer.cpuSeconds()) - readersBefore);
    if (isMlshim(receiver)) await addTurns(samples, 'ten peers told', receiver);
    await lab.replayer.close([...ends, ...opened.ends]);
  });
}

/**
 * The better one of two senders withdraws 100,000 prefixes, announces them over worse paths, withdraws them again, and
 * announces half of them as they were. Returns the session that was told all best paths meanwhile.
 */
export async function flap(lab: BgpLab, receiver: Receiver, samples: Samples): Promise<End> {
  const sink: Neighbour = { address: lab.addresses(2, 1)[0]!, asn: 65301, role: 'sink' };
  let told: End | undefined;
  await using(receiver, [...senders(lab, 2), sink], async () => {
    const { ends, last } = await openSenders(lab, receiver, 2);
    const observers = await lab.replayer.open(
      [sink.address],
      { address: receiver.address, port: PORT },
      () => 65301,
      true,
    );
    told = observers.ends[0]!;
    void lab.replayer.send([ends[1]!], longer(lab, 1)).sent;
    void lab.replayer.send([ends[0]!], lab.load(0)).sent;
    await lab.reach(receiver, last, 0, isFull(lab, 2), 'a load from two');
    const { file, fewer } = flapFile(lab);
    const cpu = cpuOf(receiver.pid);
    const began = monotonicMs();
    void lab.replayer.send([ends[0]!], file).sent;
    const want = { accepted: 2 * lab.prefixes - fewer + 1, installed: lab.prefixes + 1 };
    const isDone = (c: Counts): boolean => c.accepted === want.accepted && c.installed === want.installed;
    const took = await lab.reach(receiver, began, cpu, isDone, 'a flap');
    samples.add(`flap of 100,000, ${receiver.name}`, 's', took.seconds);
    samples.add(`flap of 100,000, ${receiver.name} CPU`, 's', took.cpuSeconds);
    if (isMlshim(receiver)) await addTurns(samples, 'flap', receiver);
    await quiet(lab, told, want.installed);
    await lab.replayer.close([...ends, told]);
  });
  return told!;
}

/** A load whose paths have one AS more. */
function longer(lab: BgpLab, index: number): string {
  return lab.file(`longer-${index}`, () => {
    const feed = lab.feed(index, { detour: [DETOUR] });
    return [...lab.tables.map((t) => announcements(t, feed)), endOfRib(4), endOfRib(6)];
  });
}

function flapFile(lab: BgpLab): { readonly file: string; readonly fewer: number } {
  const [t] = lab.tables;
  const to = setsOf(t, Math.min(FLAPPED, t.count));
  const half = to >> 1;
  const file = lab.file('flap', () => {
    const worse = lab.feed(0, { detour: [DETOUR, DETOUR + 1] });
    const gone = withdrawals(t, 0, to);
    return [gone, announcements(t, worse, 0, to), gone, announcements(t, lab.feed(0), 0, half), marker(lab)];
  });
  return { file, fewer: t.setStart[to]! - t.setStart[half]! };
}

/** Sets that hold at least `prefixes` prefixes. */
function setsOf(t: Table, prefixes: number): number {
  let s = 0;
  while (t.setStart[s]! < prefixes) s++;
  return s;
}

/** One prefix of documentation, which is in no table. */
function marker(lab: BgpLab): Buffer {
  const one = {
    family: 4,
    count: 1,
    high: Uint32Array.of(0xc0000200),
    low: Uint32Array.of(0),
    length: Uint8Array.of(24),
    sets: 1,
    setStart: Uint32Array.of(0, 1),
    path: Uint32Array.of(DETOUR),
    pathStart: Uint32Array.of(0, 1),
  } as const;
  return announcements(one, lab.feed(0));
}

/** The observer knows all prefixes and has read nothing more for a second. */
async function quiet(lab: BgpLab, observer: End, prefixes: number): Promise<void> {
  for (let before = -1; ; ) {
    const { prefixes: known, octets } = await lab.replayer.size(observer);
    if (known === prefixes && octets === before) return;
    before = octets;
    await pause(1000);
  }
}

/** 1,000 prefixes get another next hop: how long until the last of them has it in the FIB. */
async function churn(lab: BgpLab, receiver: Mlshim, ends: readonly End[], samples: Samples): Promise<void> {
  const [t] = lab.tables;
  const to = setsOf(t, CHURNED);
  const file = lab.file('churn', () => [announcements(t, lab.feed(0, { nextHop4: OTHER_HOP4 }), 0, to)]);
  const wanted = OTHER_HOP4.join('.');
  const hopOf = async (i: number): Promise<string | undefined> => {
    const dst = [24, 16, 8, 0].map((bits) => (t.high[i]! >>> bits) & 255).join('.');
    const { next_hops: hops } = await ask(receiver.control, 'route_get', { dst });
    return hops[0]?.gateway;
  };
  // The last of them that no more-specific prefix of others covers at its first address.
  const lastAt = t.setStart[to]! - 1;
  const { sent } = lab.replayer.send(ends, file);
  while ((await hopOf(lastAt)) !== wanted) await pause(1);
  const seen = monotonicMs();
  const { began } = await sent;
  samples.add('churn of 1,000 in the FIB, mlshim', 'ms', seen - began);
}

/** As many routes as a DN42 node has: 20 sessions with 2,650 prefixes each. */
export async function dn42(lab: BgpLab, receiver: Receiver, samples: Samples): Promise<void> {
  const tables = dn42Tables();
  const prefixes = tables[0].count + tables[1].count;
  await using(receiver, senders(lab, DN42_PEERS), async () => {
    const empty = memoryOf(receiver.pid, 'VmRSS');
    const files = lab.addresses(1, DN42_PEERS).map((_, i) =>
      lab.file(`dn42-${i}`, () => {
        const feed = lab.feed(i, { nextHop6: NEXT_HOP6, ...(i % 3 > 0 && { detour: [4242423000 + i] }) });
        return [...tables.map((t) => announcements(t, feed)), endOfRib(4), endOfRib(6)];
      }),
    );
    const { ends, last } = await openSenders(lab, receiver, DN42_PEERS);
    const cpu = cpuOf(receiver.pid);
    for (const [i, end] of ends.entries()) void lab.replayer.send([end], files[i]!).sent;
    const isDone = (c: Counts): boolean => c.accepted === prefixes * DN42_PEERS && c.installed === prefixes;
    const took = await lab.reach(receiver, last, cpu, isDone, 'DN42');
    samples.add(`DN42, ${receiver.name}`, 's', took.seconds);
    samples.add(`DN42, ${receiver.name} CPU`, 's', took.cpuSeconds);
    samples.add(`DN42, ${receiver.name} above empty`, 'MiB', memoryOf(receiver.pid, 'VmRSS') - empty);
    if (isMlshim(receiver)) await addTurns(samples, 'DN42', receiver);
    await lab.replayer.close(ends);
  });
}

/** A load while datagrams pass through the daemon. */
export async function traffic(lab: BgpLab, samples: Samples): Promise<void> {
  const far = new FarEnd(lab.dir);
  const near = new Mlshim(lab.dir, far);
  try {
    await far.start();
    await using(near, senders(lab, 1), async () => {
      const { sent, back, worstMs } = await withTraffic(near, async () => {
        const { ends } = await loadAll(lab, near, 1);
        await lab.replayer.close(ends);
      });
      samples.add('datagrams through mlshim during a load', '', sent);
      samples.add('datagrams lost', '', sent - back);
      samples.add('longest round trip of a datagram', 'ms', worstMs);
    });
  } finally {
    await far.stop();
  }
}

function isMlshim(r: Receiver): r is Mlshim {
  return r.name === 'mlshim';
}

/** How long the routing worker's event loop was held at most. */
async function addTurns(samples: Samples, what: string, receiver: Mlshim): Promise<void> {
  const { counters } = await receiver.status();
  samples.add(`${what}, longest turn of mlshim's event loop`, 'ms', counters['routing_turn_max_ms']!);
  samples.add(`${what}, turns of mlshim's event loop over 20 ms`, '', counters['routing_turns_over_20ms']!);
}
