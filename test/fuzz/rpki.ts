/** What RPKI caches and ROA files may do to us: whole RTR sessions, and files cut anywhere. */
import { VrpLoader } from '../../bgp/rpki/loader.ts';
import { parseRoas, RoaFileError, RoaFileReader } from '../../bgp/rpki/roa-file.ts';
import { RoaTable } from '../../bgp/rpki/roa-table.ts';
import { RtrClient, type RtrEvent } from '../../bgp/rpki/rtr.ts';
import type { VrpList } from '../../bgp/rpki/vrp.ts';
import { Prefix } from '../../router/lib/addr.ts';
import type { Instant } from '../../router/lib/clock.ts';
import { Random } from '../../router/lib/rand.ts';
import { birdText, dn42Json, registryRoas, rpkiClientJson } from '../bgp/kit/roas.ts';
import { cacheReset, cacheResponse, endOfData, errorPdu, pdu, prefixPdu, serialNotify } from '../bgp/kit/rtr.ts';
import { check, cutUp } from './holds.ts';
import { mutated } from './mutate.ts';

const PREFIXES = ['172.20.0.0/24-29 AS4242420001', 'fd42:1::/48-48 AS4242420002', '0.0.0.0/0-32 AS0'];
/** Octets of the header every PDU has: no PDU is shorter. */
const LEAST_PDU = 8;
/** What a client may send besides one query for each PDU it reads: an Error Report quotes one of them. */
const MOST_UNASKED = 17_000;

const SERIALS = [0, 1, 7, 0x7fffffff, 0xffffffff];
const SESSIONS = [1, 2];

/** One PDU of a cache, most often one that makes sense. */
function anyPdu(random: Random): Uint8Array {
  const one = <T>(of: readonly T[]): T => of[random.below(of.length)]!;
  const version = random.chance(0.9) ? 1 : random.below(3);
  const prefix = (): Uint8Array => prefixPdu(version, `${random.chance(0.3) ? '-' : ''}${one(PREFIXES)}`);
  const session = random.chance(0.9) ? 1 : one(SESSIONS);
  const makers: readonly (() => Uint8Array)[] = [
    prefix,
    prefix,
    prefix,
    () => cacheResponse(version, session),
    () => cacheResponse(version, session),
    () => endOfData(version, session, one(SERIALS), [random.int32() >>> 0, random.below(9000), random.below(999_999)]),
    () => endOfData(version, session, one(SERIALS)),
    () => serialNotify(version, session, one(SERIALS)),
    () => cacheReset(version),
    () => errorPdu(version, random.below(10), 'words', prefix()),
    () => pdu(version, 9, 0x0100, ...new Array<number>(40).fill(7)),
    () => pdu(version, random.below(256), random.below(3), ...new Array<number>(random.below(30)).fill(1)),
  ];
  const octets = one(makers)();
  return random.chance(0.05) ? mutated([octets], random) : octets;
}

const session = (...pdus: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pdus));

export const RTR_SEEDS: readonly Uint8Array[] = [0, 1].map((v) =>
  session(
    cacheResponse(v, 1),
    ...PREFIXES.map((p) => prefixPdu(v, p)),
    endOfData(v, 1, 7),
    serialNotify(v, 1, 8),
    cacheResponse(v, 1),
    prefixPdu(v, `-${PREFIXES[0]}`),
    endOfData(v, 1, 8),
    serialNotify(v, 1, 9),
    cacheReset(v),
  ),
);

export function rtrStream(random: Random): Uint8Array {
  const beginning = random.chance(0.8) ? [cacheResponse(1, 1)] : [];
  return session(...beginning, ...Array.from({ length: random.below(30) }, () => anyPdu(random)));
}

/** A client, its table and its loader, as router/app/rtr-server.ts joins them, without sockets. */
class Router {
  /** What was gathered is loaded at once; else when the connection has ended. */
  readonly #isEager: boolean;
  readonly #gathered: (() => void)[] = [];
  readonly client = new RtrClient({}, () => 0.5);
  readonly table = new RoaTable();
  readonly #source = this.table.addSource('fuzz');
  readonly #loader = new VrpLoader(() => {});
  now = 0 as Instant;
  isOpen = false;
  sentOctets = 0;

  constructor(isEager: boolean) {
    this.#isEager = isEager;
  }

  handle(event: RtrEvent): void {
    this.client.handle(event, this.now);
    this.#obey();
  }

  tick(now: number): void {
    this.now = now as Instant;
    this.client.tick(this.now);
    this.#obey();
  }

  #obey(): void {
    for (let a = this.client.poll(); a !== undefined; a = this.client.poll()) {
      if (a.kind === 'send') {
        check(this.isOpen, 'something is sent without a connection');
        this.sentOctets += a.octets.length;
      } else if (a.kind === 'close') this.isOpen = false;
      else if (a.kind === 'load') {
        const { list, isFull } = a;
        this.#gathered.push(() => this.#load(list, isFull));
        if (this.#isEager) this.loadGathered();
      }
    }
  }

  loadGathered(): void {
    for (const load of this.#gathered.splice(0)) load();
  }

  #load(list: VrpList, isFull: boolean): void {
    for (let row = 0; row < list.size; row++) checkVrp(list, row);
    if (isFull) this.#loader.replace(this.#source, list, () => this.handle({ kind: 'loaded' }));
    else
      this.#loader.update(this.#source, list, ({ unknownWithdrawals, duplicates }) =>
        this.handle(
          unknownWithdrawals + duplicates > 0
            ? { kind: 'refused', code: 6, words: 'contradiction' }
            : { kind: 'loaded' },
        ),
      );
    while (this.#loader.isPending) this.#loader.step(2);
  }

  get words(): string {
    const { state, version, serial, sessionId, hasData } = this.client;
    return [state, version, serial, sessionId, hasData, this.table.size(4), this.table.size(6)].join(' ');
  }
}

/** Two sessions of one client with one cache, one after the other. @throws when something that must hold does not */
export function rtrSession(octets: Uint8Array): void {
  const random = new Random(octets.length);
  const half = octets.length >> 1;
  const whole = [[octets.subarray(0, half)], [octets.subarray(half)]];
  const cut = whole.map(([session]) => cutUp(session!, random));
  const [one, other] = [sessions(whole, false), sessions(cut, false)];
  check(one === other, `the borders of chunks make a difference: ${one}, ${other}`);
  sessions(cut, true);
}

/** @returns how it ended, in words */
function sessions(each: readonly (readonly Uint8Array[])[], isEager: boolean): string {
  const r = new Router(isEager);
  const octets = each.flat().reduce((n, chunk) => n + chunk.length, 0);
  r.handle({ kind: 'start' });
  for (const chunks of each) {
    advance(r);
    r.isOpen = true;
    r.handle({ kind: 'opened' });
    for (const chunk of chunks) if (r.isOpen) r.handle({ kind: 'octets', octets: chunk });
    if (r.isOpen) {
      r.isOpen = false;
      r.handle({ kind: 'closed', reason: 'the end' });
    }
    r.loadGathered();
  }
  const pdus = octets / LEAST_PDU;
  check(r.sentOctets <= 12 * (pdus + 4) + 2 * MOST_UNASKED, `${r.sentOctets} octets are sent for ${octets}`);
  check(r.table.size(4) + r.table.size(6) <= pdus, 'more VRPs than PDUs');
  const { words } = r;
  advance(r);
  r.handle({ kind: 'stop' });
  check(r.client.deadline() === undefined, 'a stopped client waits for something');
  return words;
}

/** Let time pass until the client connects: it must do so whatever happened before. */
function advance(r: Router): void {
  for (let i = 0; r.client.state !== 'connecting'; i++) {
    const at = r.client.deadline();
    check(at !== undefined && i < 10, `a client that is ${r.client.state} never connects again`);
    r.tick(Math.max(r.now, at!));
  }
}

function checkVrp(list: VrpList, row: number): void {
  const { prefix, maxLength } = list.vrp(row);
  const isSound = prefix.length <= maxLength && maxLength <= (list.family(row) === 4 ? 32 : 128);
  check(isSound && Prefix.parse(String(prefix)) !== undefined, `an impossible VRP came out: ${prefix}-${maxLength}`);
}

const FEW = registryRoas().filter((_, i) => i % 400 === 0);
export const ROA_FILE_SEEDS: readonly Uint8Array[] = [dn42Json, rpkiClientJson, birdText].map((form) =>
  new TextEncoder().encode(form(FEW)),
);

/** @throws when something that must hold does not */
export function roaFile(octets: Uint8Array): void {
  const text = Buffer.from(octets).toString('latin1');
  const whole = outcome(() => parseRoas(text));
  const cut = outcome(() => {
    const reader = new RoaFileReader();
    for (const piece of cutUp(octets, new Random(octets.length))) reader.push(Buffer.from(piece).toString('latin1'));
    return reader.end();
  });
  check(whole.words === cut.words, `the borders of pieces make a difference: ${whole.words}, ${cut.words}`);
  const { list } = whole;
  if (list === undefined) return;
  for (let row = 0; row < list.size; row++) checkVrp(list, row);
  const expected = roasOf(text);
  check(expected === undefined || expected === list.size, `${list.size} ROAs of ${expected} came out`);
}

function outcome(read: () => VrpList): { readonly words: string; readonly list: VrpList | undefined } {
  try {
    const list = read();
    const rows = Array.from({ length: list.size }, (_, i) => `${list.prefix(i)}-${list.maxLength(i)} ${list.asn(i)}`);
    return { words: rows.join(), list };
  } catch (e) {
    if (!(e instanceof RoaFileError)) throw e;
    return { words: `line ${e.line}`, list: undefined };
  }
}

/** How many ROAs an independent reader sees; undefined where it sees none or could see two lists. */
function roasOf(text: string): number | undefined {
  try {
    const { roas } = JSON.parse(text) as { readonly roas: readonly unknown[] };
    return text.split('roas').length === 2 ? roas.length : undefined;
  } catch {
    return undefined;
  }
}
