/**
 * Everything that reads a stranger's octets: seeds to damage, and what must hold whatever comes. `run` throws when it does
 * not. A new parser is a new entry; `npm test` gives each a few thousand inputs, `npm run fuzz` as many as there is time.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeBfd, encodeBfd } from '../../bgp/bfd/packet.ts';
import { BfdSession } from '../../bgp/bfd/session.ts';
import { putVpnPrefix, readVpnNextHop, readVpnNlri, vpnKey } from '../../bgp/vpn/nlri.ts';
import type { WireContext } from '../../bgp/wire/attribute/model.ts';
import { PLAIN_FACTS } from '../../bgp/wire/family.ts';
import type { BgpFault } from '../../bgp/wire/fault.ts';
import { decodeOpen, encodeOpen, MessageReader, MessageType } from '../../bgp/wire/message.ts';
import { decodeMrt, MrtWriter, updateOfEntry } from '../../bgp/wire/mrt.ts';
import { isNlri } from '../../bgp/wire/nlri.ts';
import { OctetWriter } from '../../bgp/wire/octets.ts';
import { quickUpdate } from '../../bgp/wire/quick.ts';
import { decodeCarefully, decodeUpdate, type Update, UpdatePacker } from '../../bgp/wire/update.ts';
import { bfdDigest } from '../../router/app/bfd-digest.ts';
import { Mistake, parseCommand } from '../../router/birdctl/command.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import type { Instant } from '../../router/lib/clock.ts';
import { Random } from '../../router/lib/rand.ts';
import { signatureAt } from '../../router/wire/tcp.ts';
import { describe, describeUpdate, hex, messageOf, PLAIN_CONTEXT } from '../bgp/kit/describe.ts';
import { CONTROL_SEEDS, controlStream } from './control.ts';
import { FPM_SEEDS, fpmStream } from './fpm.ts';
import { check, cutUp } from './holds.ts';
import { mutated } from './mutate.ts';
import { ROA_FILE_SEEDS, RTR_SEEDS, roaFile, rtrSession, rtrStream } from './rpki.ts';
import { damagedUpdate } from './update.ts';

export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Makes inputs that keep the outer structure whole, so that damage reaches the inner one. */
  readonly make?: (random: Random) => Uint8Array;
  /** @throws when something that must hold does not */
  run(input: Uint8Array): void;
}

const GOLDEN = join(process.cwd(), 'test/golden/bgp');

function hexLines(file: string): Uint8Array[] {
  return readFileSync(join(GOLDEN, file), 'utf8')
    .split('\n')
    .filter((l) => l !== '' && !l.startsWith('#'))
    .map((l) => hex(l.split(' ').at(-1)!));
}

const MESSAGES = readdirSync(GOLDEN)
  .filter((f) => f.endsWith('.hex'))
  .flatMap(hexLines);

const bodiesOf = (type: number): Uint8Array[] =>
  MESSAGES.map(messageOf).flatMap((m) => (m.type === type ? [m.body] : []));

/** Bodies of UPDATEs that were not handled as they must be. */
const FOUND_UPDATES = [
  // AS_PATH of one octet where the message ends: the short way took it as an empty path.
  '00000049900e003c00020120fe800000000000000000000000000002fe8000000000000000000000000000020000000002' +
    '30fd42000200010000000338fd420002000200400101005002000102',
].map(hex);

const VPN_CASES = [
  [4, false],
  [4, true],
  [6, false],
  [6, true],
] as const;

const CONTEXTS: readonly WireContext[] = [
  PLAIN_CONTEXT,
  { ...PLAIN_CONTEXT, fourOctetAs: false, external: false },
  {
    ...PLAIN_CONTEXT,
    families: {
      ipv4: { ...PLAIN_FACTS, receivesPathIds: true },
      ipv6: { ...PLAIN_FACTS, receivesPathIds: true },
    },
  },
];

function updates(body: Uint8Array): void {
  if (body.length < 4) return;
  const before = Buffer.from(body).toString('hex');
  for (const context of CONTEXTS) {
    const u = decodeUpdate(body, context);
    sameAsCarefully(body, context, u);
    if ('handling' in u) {
      check(u.handling === 'reset', `a fault of an UPDATE that is only ${u.handling}`);
      continue;
    }
    for (const n of [...u.withdrawn, ...u.reach.map((r) => r.nlri)]) {
      check(isNlri(n.bytes, n.family, n.hasPathIds), 'NLRI that is not well-formed came out');
    }
    check(u.reach.length === 0 || u.attributes !== undefined, 'routes without attributes came out');
    survives(u, context);
  }
  check(Buffer.from(body).toString('hex') === before, 'the input was changed');
}

/** The short way of wire/quick.ts gives what the long one gives. */
function sameAsCarefully(body: Uint8Array, context: WireContext, u: Update | BgpFault): void {
  if (quickUpdate(body, context) === undefined) return;
  const carefully = decodeCarefully(body, context);
  if ('handling' in carefully || 'handling' in u) throw new Error('only the short way takes it');
  check(describeUpdate(u).join() === describeUpdate(carefully).join(), 'the short way gives something else');
}

/** Attributes that were accepted mean the same after encoding and decoding. */
function survives(u: Update, context: WireContext): void {
  const [reach] = u.reach;
  if (reach === undefined) return;
  const chunks: Uint8Array[] = [];
  const { fourOctetAs } = context;
  const settings = { fourOctetAs, maxMessage: 65535, linkLocalForm: 'native' } as const;
  const packer = new UpdatePacker(settings, (octets) => chunks.push(octets));
  if (!packer.reach(reach.nlri.family, u.attributes!, reach.nextHop)) return;
  packer.add(0x0a000000, 0, 0, 0, 8);
  packer.flush();
  const again = decodeUpdate(messageOf(chunks[0]!).body, { ...context, families: PLAIN_CONTEXT.families });
  if ('handling' in again) throw new Error(`what we encoded is refused: ${again.words}`);
  const words = (x: Update): string =>
    describeUpdate({ ...x, attributes: x.attributes, faults: [], withdrawn: [], reach: [] })
      .filter((l) => fourOctetAs || !/origin|aggregator/.test(l))
      .join('\n');
  check(words(again) === words(u), `changed on the way:\n${words(u)}\n${words(again)}`);
}

/** A log of a session, and a table with path identifiers. */
function mrtLog(): Uint8Array {
  const w = new MrtWriter();
  const address = (text: string): Addr => Addr.parse(text)!;
  const v4 = { peerAs: 64601, localAs: 64602, peer: address('10.0.0.2'), local: address('10.0.0.1'), interface: 0 };
  const v6 = { ...v4, peer: address('fe80::2'), local: address('fe80::1'), interface: 3 };
  w.state(7, { ...v4, fourOctetAs: false }, 5, 6);
  for (const m of MESSAGES.slice(0, 4)) w.message(7, { ...v6, fourOctetAs: true }, true, m);
  w.message(8, { ...v4, fourOctetAs: false }, false, MESSAGES[0]!);
  w.state(9, { ...v6, fourOctetAs: true }, 6, 1);
  const attributes = hex('400101004002060201fc590000400304 0a000002');
  w.rib(9, Prefix.parse('172.20.0.0/14')!, [{ peer: 0, originatedS: 1, pathId: 7, attributes }]);
  return w.out.take();
}

/** A stream cut into pieces gives the same messages as in one piece. */
function stream(input: Uint8Array): void {
  const read = (chunks: readonly Uint8Array[]): string[] => {
    const reader = new MessageReader();
    const out: string[] = [];
    for (const chunk of chunks) {
      reader.push(chunk);
      for (let m = reader.next(); m !== undefined; m = reader.next()) {
        if ('handling' in m) return [...out, `fault ${m.subcode}`];
        out.push(`${m.type} ${Buffer.from(m.body).toString('hex')}`);
      }
    }
    return out;
  };
  const chunks = cutUp(input, new Random(input.length));
  const whole = read([input.slice()]);
  check(JSON.stringify(read(chunks)) === JSON.stringify(whole), 'the borders of chunks make a difference');
}

/** The next input for a target: half of them keep their structure where the target knows it. */
export function inputFor(target: Target, random: Random): Uint8Array {
  return target.make !== undefined && random.chance(0.5) ? target.make(random) : mutated(target.seeds, random);
}

export const TARGETS: readonly Target[] = [
  { name: 'bgp stream', seeds: [new Uint8Array(Buffer.concat(MESSAGES.slice(0, 8))), ...MESSAGES], run: stream },
  {
    name: 'bgp open',
    seeds: bodiesOf(MessageType.Open),
    run: (body) => {
      if (body.length < 10) return;
      const open = decodeOpen(body);
      if ('handling' in open) return;
      const again = encodeOpen(open);
      check(describe(again, PLAIN_CONTEXT).length === open.capabilities.length + 1, 'a capability was lost');
    },
  },
  {
    name: 'bgp update',
    seeds: [...bodiesOf(MessageType.Update), ...FOUND_UPDATES],
    make: (random) => damagedUpdate(bodiesOf(MessageType.Update), random),
    run: updates,
  },
  {
    name: 'bgp vpn',
    seeds: [
      hex('70 000031 0000fc5900000009 0a0908'),
      hex('00000007 70 000100 0000fc5900000009 0a0908'),
      hex('88 0003e8 0001ac1400010001 fd420053 0001 70 800000 0000fc5900000009 0a0908'),
    ],
    run: (run) => {
      for (const [family, hasPathIds] of VPN_CASES) {
        const prefixes = readVpnNlri(run, family, hasPathIds);
        for (const p of prefixes ?? []) {
          check(
            p.prefix.length <= (family === 4 ? 32 : 128) && p.label <= 0xfffff,
            'an impossible VPN prefix came out',
          );
          const w = new OctetWriter(32);
          putVpnPrefix(w, p, p.label, hasPathIds ? p.pathId : undefined);
          const [again] = readVpnNlri(w.take(), family, hasPathIds)!;
          check(vpnKey(again!) === vpnKey(p) && again!.label === p.label, 'a VPN prefix changed on the way');
        }
      }
      readVpnNextHop(run);
    },
  },
  {
    name: 'bgp mrt',
    seeds: [...hexLines('mrt/bird-2.0.12-table.hex'), mrtLog()],
    run: (file) => {
      for (let at = 0; ; ) {
        const next = decodeMrt(file, at);
        if (next === undefined || 'fault' in next) return;
        check(next.octets >= 12 && at + next.octets <= file.length, 'a record runs past the end');
        const { record } = next;
        if (record.kind === 'rib') for (const e of record.entries) updateOfEntry(record.prefix, e.attributes);
        at += next.octets;
      }
    },
  },
  { name: 'bgp rtr', seeds: RTR_SEEDS, make: rtrStream, run: rtrSession },
  { name: 'bgp roa file', seeds: ROA_FILE_SEEDS, run: roaFile },
  { name: 'bgp fpm', seeds: FPM_SEEDS, run: fpmStream },
  {
    name: 'bgp bfd',
    seeds: [
      '204004182e9569e400000000000f4240000249f000000000',
      '20e004182e9569e411223344000249f0000249f000000000',
      '20c4032111223344000000010000ea600000ea6000000000010903736563726574',
    ].map(hex),
    run: (octets) => {
      const p = decodeBfd(octets);
      if (typeof p === 'string') return;
      check(p.myDiscriminator !== 0 && p.detectMult !== 0, 'a packet without sender came out');
      check(Buffer.from(encodeBfd(p)).equals(octets.subarray(0, 24)) || octets[3] !== 24, 'changed on the way');
      const session = new BfdSession(
        1,
        { minTxUs: 50_000, minRxUs: 50_000, multiplier: 3 },
        () => 0.5,
        0 as Instant,
        bfdDigest,
      );
      for (let ms = 0; ms < 500; ms += 50) {
        session.receive(p, ms as Instant);
        session.tick(ms as Instant);
      }
      let sent = 0;
      for (let a = session.poll(); a !== undefined; a = session.poll()) if (a.kind === 'send') sent++;
      check(sent < 40, 'packets make more packets than they are');
    },
  },
  {
    name: 'bgp tcp md5',
    seeds: [
      '101312d1508b36631d1c7efcd8fa3bbeb36616',
      '0204ffd7010104020103030a01011312d1508b36631d1c7efcd8fa3bbeb36616',
    ].map(hex),
    run: (options) => {
      const b = new Uint8Array(60);
      b.set(options.subarray(0, 40), 20);
      const headerLength = 20 + Math.min(options.length & ~3, 40);
      const at = signatureAt(b, 0, headerLength);
      check(at === 0 || (at >= 22 && at + 16 <= headerLength), 'a digest outside of the options');
    },
  },
  {
    name: 'bgp bird commands',
    seeds: [
      'show protocols all "dn42_*"',
      'show route for 172.20.0.53 all primary',
      'show route where net ~ [ fd00::/8+ ] count',
      'reload in b',
      'configure timeout 60',
    ].map((line) => new Uint8Array(Buffer.from(line, 'latin1'))),
    run: (line) => {
      const command = parseCommand(Buffer.from(line).toString('latin1'));
      check(
        command instanceof Mistake ? command.text !== '' : command.kind !== undefined,
        'neither command nor mistake',
      );
    },
  },
  { name: 'control', seeds: CONTROL_SEEDS, run: controlStream },
];
