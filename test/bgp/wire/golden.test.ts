/** Messages of BIRD, FRR, GoBGP and ExaBGP: decoded to the expected words, and encoded back to the same octets. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { communityText } from '../../../bgp/wire/attribute/communities.ts';
import type { WireContext } from '../../../bgp/wire/attribute/model.ts';
import type { Capability } from '../../../bgp/wire/capability.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { encodeOpen, type Open } from '../../../bgp/wire/message.ts';
import { type Nlri, NlriCursor, prefixesOf } from '../../../bgp/wire/nlri.ts';
import { decodeUpdate, type Update, UpdatePacker } from '../../../bgp/wire/update.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { describe, describeUpdate, hex, messageOf, openOf, PLAIN_CONTEXT } from '../kit/describe.ts';

const DIR = join(process.cwd(), 'test/golden/bgp');

interface Line {
  readonly from: string;
  readonly octets: Uint8Array;
}

function readHex(file: string): Line[] {
  return readFileSync(join(DIR, file), 'utf8')
    .split('\n')
    .filter((l) => l !== '' && !l.startsWith('#'))
    .map((l) => {
      const [from, octets] = l.split(' ');
      return { from: from!, octets: hex(octets!) };
    });
}

function addPathMode(open: Open, afi: number): number {
  const c = open.capabilities.find((x): x is Capability & { kind: 'add-path' } => x.kind === 'add-path');
  return c?.entries.find((e) => e.afi === afi && e.safi === 1)?.mode ?? 0;
}

/** The AS in an OPEN, also one of four octets. */
function asOf(open: Open): number {
  return open.capabilities.find((c) => c.kind === 'four-octet-as')?.asn ?? open.asn;
}

/** What the receiver of `sender`'s messages has to assume. */
function contextFor(sender: Open, receiver: Open, isConfederation: boolean): WireContext {
  const sends = (afi: number): boolean =>
    (addPathMode(sender, afi) & 2) !== 0 && (addPathMode(receiver, afi) & 1) !== 0;
  const facts = (afi: number) => ({ ...PLAIN_FACTS, extendedNextHop: true, receivesPathIds: sends(afi) });
  const families = { ipv4: facts(1), ipv6: facts(2) };
  if (isConfederation)
    return { ...PLAIN_CONTEXT, families, external: false, confederation: 'border', firstAs: asOf(sender) };
  return { ...PLAIN_CONTEXT, families, external: asOf(sender) !== asOf(receiver) };
}

function contexts(file: string, lines: readonly Line[]): (l: Line) => WireContext {
  const opens = lines.filter((l) => messageOf(l.octets).type === 1);
  return (l) => {
    const mine = opens.find((o) => o.from === l.from)!;
    const other = opens.find((o) => o.from !== l.from)!;
    return contextFor(openOf(mine.octets), openOf(other.octets), file.includes('confederation'));
  };
}

/** Encode what was decoded; undefined for messages that mix kinds. */
function reencode(u: Update, context: WireContext): Uint8Array | undefined {
  const chunks: Uint8Array[] = [];
  const settings = { fourOctetAs: context.fourOctetAs, maxMessage: 65535, linkLocalForm: 'native' } as const;
  const packer = new UpdatePacker(settings, (octets) => chunks.push(octets));
  const runs = [...u.reach.map((r) => r.nlri), ...u.withdrawn];
  if (runs.length > 1 || runs.some((n) => n.hasPathIds)) return undefined;
  if (u.endOfRib === 'ipv4' || u.endOfRib === 'ipv6') packer.endOfRib(u.endOfRib === 'ipv4' ? 4 : 6);
  else if (u.reach[0] !== undefined) packer.reach(u.reach[0].nlri.family, u.attributes!, u.reach[0].nextHop);
  else if (u.withdrawn[0] !== undefined) packer.withdraw(u.withdrawn[0].family);
  else return undefined;
  const c = new NlriCursor();
  for (const n of runs) {
    c.over(n);
    while (c.next()) packer.add(c.w0, c.w1, c.w2, c.w3, c.length);
  }
  packer.flush();
  return new Uint8Array(Buffer.concat(chunks));
}

for (const file of readdirSync(DIR).filter((f) => f.endsWith('.hex'))) {
  test(`every message of ${file} means what the golden file says`, (t) => {
    const lines = readHex(file);
    const contextOf = contexts(file, lines);
    const words = lines.flatMap((l) => [`--- ${l.from}`, ...describe(l.octets, contextOf(l))]).join('\n');
    const golden = join(DIR, file.replace('.hex', '.txt'));
    if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(golden, `${words}\n`);
    t.is(`${words}\n`, readFileSync(golden, 'utf8'));
  });

  test(`what ${file} says survives encoding and decoding`, (t) => {
    const lines = readHex(file);
    const contextOf = contexts(file, lines);
    let same = 0;
    let checked = 0;
    for (const l of lines) {
      const m = messageOf(l.octets);
      const context = contextOf(l);
      if (m.type === 1) {
        const open = openOf(l.octets);
        t.deepEqual(openOf(encodeOpen(open)), open);
      }
      if (m.type !== 2) continue;
      const u = decodeUpdate(m.body, context);
      if ('handling' in u) return t.fail(u.words);
      const again = reencode(u, context);
      if (again === undefined) continue;
      checked++;
      if (Buffer.compare(again, l.octets) === 0) same++;
      const v = decodeUpdate(messageOf(again).body, context);
      if ('handling' in v) return t.fail(v.words);
      t.deepEqual(describeUpdate(v), describeUpdate(u));
    }
    t.log(`${same} of ${checked} UPDATEs have the same octets`);
  });
}

test('the forms of a link-local next hop that four speakers send all mean the same', (t) => {
  const hops = (file: string, from: string) => {
    const lines = readHex(file);
    const contextOf = contexts(file, lines);
    return lines
      .filter((l) => l.from === from && messageOf(l.octets).type === 2)
      .flatMap((l) => {
        const u = decodeUpdate(messageOf(l.octets).body, contextOf(l));
        return 'handling' in u
          ? []
          : u.reach.map((r) => [r.nextHop.global?.toString(), r.nextHop.linkLocal?.toString()]);
      });
  };
  const linkLocal = (n: number) => [undefined, `fe80::${n}`];
  for (const [what, file, n] of [
    ['BIRD: :: and LL', 'bird-2.19.2_vs_frr.hex', 1],
    ['FRR: LL twice', 'bird-2.19.2_vs_frr.hex', 2],
    ['GoBGP: LL alone', 'bird-2.19.2_vs_gobgp.hex', 2],
  ] as const) {
    const found = hops(file, `fe80::${n}`);
    t.true(found.length >= 2, what);
    for (const hop of found) t.deepEqual(hop, linkLocal(n), what);
  }
});

interface Expected {
  readonly attribute?: Record<string, unknown>;
  readonly announce?: Record<string, Record<string, { nlri: string; 'path-information'?: string }[]>>;
  readonly withdraw?: Record<string, { nlri: string }[]>;
}

/** ExaBGP writes path identifiers as addresses. */
function pathIdsOf(nlri: Nlri): string[] {
  const out: string[] = [];
  const c = new NlriCursor().over(nlri);
  while (c.next()) out.push(String(Addr.v4(c.pathId)));
  return out;
}

/** raw/json pairs of an ExaBGP file; the JSON is missing for messages ExaBGP does not describe. */
function readCi(file: string): { raw: Uint8Array; update: Expected | undefined }[] {
  const out: { raw: Uint8Array; update: Expected | undefined }[] = [];
  for (const line of readFileSync(join(DIR, 'exabgp', file), 'utf8').split('\n')) {
    const raw = /^[A-Z]?\d+:raw:(.*)$/.exec(line);
    const json = /^[A-Z]?\d+:json:(.*)$/.exec(line);
    if (raw !== null) out.push({ raw: hex(raw[1]!), update: undefined });
    if (json !== null) out[out.length - 1]!.update = JSON.parse(json[1]!).neighbor.message?.update;
  }
  return out;
}

/** What ExaBGP sends beyond the RFCs: an unknown well-known attribute, and IPv6 prefixes with an IPv4 next hop. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'conf-generic-attribute.ci': /^well-known attribute 153 is unknown/,
  'extended-nexthop.ci': /^MP_REACH_NLRI next hop of 4 octets/,
};

for (const file of readdirSync(join(DIR, 'exabgp')).filter((f) => f.endsWith('.ci'))) {
  test(`ExaBGP and we agree about ${file}`, (t) => {
    let seen = 0;
    for (const { raw, update } of readCi(file)) {
      const m = messageOf(raw);
      if (m.type === 1) {
        seen++;
        t.deepEqual(openOf(encodeOpen(openOf(raw))), openOf(raw));
      }
      if (m.type !== 2) continue;
      // ExaBGP's own paths are empty or foreign: these are internal sessions as far as attributes go.
      const facts = { ...PLAIN_FACTS, extendedNextHop: true, receivesPathIds: /path-information|addpath/.test(file) };
      const families = { ipv4: facts, ipv6: facts };
      const context = { ...PLAIN_CONTEXT, families, external: false, fourOctetAs: !file.includes('no-asn4') };
      let u = decodeUpdate(m.body, context);
      if ('handling' in u && REFUSED[file]?.test(u.words)) continue;
      if ('handling' in u) return t.fail(`${u.words} in ${Buffer.from(raw).toString('hex')}`);
      if (u.faults.some((f) => f.words.includes('LOCAL_PREF')))
        u = decodeUpdate(m.body, { ...context, external: true });
      if ('handling' in u) return t.fail(u.words);
      seen++;
      const canonical = reencode(u, context);
      if (canonical !== undefined && u.reach[0]?.nlri.family === 4 && u.reach[0].nextHop.global?.family === 4) {
        t.is(Buffer.from(canonical).toString('hex'), Buffer.from(raw).toString('hex'), 'the same octets come back');
      }
      if (update === undefined) continue;
      for (const [family, byHop] of Object.entries(update.announce ?? {})) {
        if (!/^ipv[46] unicast$/.test(family)) continue;
        const entries = Object.values(byHop).flat();
        const expected = entries.map((n) => n.nlri);
        const pathIds = entries.flatMap((n) => n['path-information'] ?? []);
        t.deepEqual(
          u.reach.flatMap((r) => pathIdsOf(r.nlri)).filter((id) => id !== '0.0.0.0'),
          pathIds,
        );
        // ExaBGP announces martian next hops such as 127.0.0.1; to us such routes are withdrawn (RFC 4271 §6.3).
        const isMartian = u.faults.some((f) => f.words.startsWith('NEXT_HOP'));
        const runs = isMartian ? u.withdrawn : u.reach.map((r) => r.nlri);
        t.deepEqual(runs.flatMap((n) => prefixesOf(n).map(String)).sort(), expected.sort());
      }
      const withdrawn = Object.values(update.withdraw ?? {}).flatMap((list) => list.map((n) => n.nlri));
      if (withdrawn.length > 0)
        t.deepEqual(
          u.withdrawn.flatMap((n) => prefixesOf(n).map(String)),
          withdrawn,
        );
      const a = update.attribute ?? {};
      const got = u.attributes;
      if (got === undefined) continue;
      if (a['local-preference'] !== undefined) t.is(got.localPref, a['local-preference'] as number);
      if (a['med'] !== undefined) t.is(got.med, a['med'] as number);
      if (a['community'] !== undefined) {
        t.deepEqual(
          got.communities.map((c) => communityText(c).split(':').map(Number)),
          a['community'] as number[][],
        );
      }
      if (a['large-community'] !== undefined) {
        t.deepEqual(got.largeCommunities, (a['large-community'] as number[][]).flat());
      }
      if (a['extended-community'] !== undefined) {
        const values = (a['extended-community'] as { value: number }[]).map((x) => x.value);
        const ours = Array.from(
          { length: values.length },
          (_, i) => got.extendedCommunities[2 * i]! * 2 ** 32 + got.extendedCommunities[2 * i + 1]!,
        );
        t.deepEqual(ours, values);
      }
    }
    t.true(seen > 0);
  });
}

test("ExaBGP's decoding vectors mean the same to us", (t) => {
  const read = (name: string): { raw: Uint8Array; message: Record<string, unknown> } => {
    const [, raw, json] = readFileSync(join(DIR, 'exabgp', 'decoding', name), 'utf8').split('\n');
    const { neighbor } = JSON.parse(json!);
    return { raw: hex(raw!), message: neighbor.open ?? neighbor.message.update };
  };
  for (const name of ['ipv4-unicast-1', 'ipv4-unicast-2']) {
    const { raw, message } = read(name);
    const u = decodeUpdate(messageOf(raw).body, { ...PLAIN_CONTEXT, external: false });
    if ('handling' in u) return t.fail(u.words);
    const byHop = (message as Expected).announce?.['ipv4 unicast'] ?? {};
    t.deepEqual(
      u.reach.map((r) => [String(r.nextHop.global), prefixesOf(r.nlri).map(String)]),
      Object.entries(byHop).map(([hop, routes]) => [hop, routes.map((r) => r.nlri)]),
    );
    t.is(u.attributes?.med, (message as Expected).attribute!['med'] as number | undefined);
  }
  const { raw, message } = read('bgp-open-sofware-version');
  const open = openOf(raw);
  t.like(open, { version: 4, asn: message['asn'], holdTimeS: message['hold_time'] });
  t.is(open.capabilities.length, Object.keys(message['capabilities'] as object).length);
  t.deepEqual(open.capabilities.map((c) => c.kind).at(-1), 'unknown', 'a capability we do not know is kept');
  return undefined;
});
