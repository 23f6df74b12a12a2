/** One session, fed by hand: octets and time in, actions out. */
import test from 'ava';
import fc from 'fast-check';
import { localOpen } from '../../../bgp/fsm/negotiate.ts';
import { Session, type SessionAction, type SessionSettings } from '../../../bgp/fsm/session.ts';
import { STATES } from '../../../bgp/fsm/table.ts';
import { monitoredSession } from '../../../bgp/monitor/monitor.ts';
import {
  decodeNotification,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  type Open,
} from '../../../bgp/wire/message.ts';
import { Addr } from '../../../router/lib/addr.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import { hex, messageOf, PLAIN_OFFER } from '../kit/describe.ts';

const SETTINGS: SessionSettings = {
  localAs: 64600,
  peerAs: 64601,
  identifier: 0x0a000001,
  holdTimeS: 90,
  families: ['ipv4', 'ipv6'],
  ...PLAIN_OFFER,
  extendedNextHop: true,
  extendedMessages: true,
  passive: false,
  connectRetryMs: 5000,
  maxConnectRetryMs: 30_000,
  delayOpenMs: undefined,
  sendHoldMs: undefined,
  random: () => 1, // no jitter
  idleHoldMs: 1000,
  maxIdleHoldMs: 60_000,
};

const PEER_OPEN: Open = localOpen({ ...SETTINGS, localAs: 64601, peerAs: 64600, identifier: 0x0a000002 });

class Bench {
  now = 0;
  readonly session: Session;
  #transports = 0;

  constructor(settings: Partial<SessionSettings> = {}) {
    this.session = new Session({ ...SETTINGS, ...settings }, () => ++this.#transports, 0 as Instant);
  }

  /** A transport number for an inbound connection. */
  inbound(): number {
    const transport = 1000 + ++this.#transports;
    this.session.handle({ kind: 'accepted', transport }, this.now as Instant);
    return transport;
  }

  do(event: Parameters<Session['handle']>[0]): this {
    this.session.handle(event, this.now as Instant);
    return this;
  }

  octets(transport: number, ...messages: Uint8Array[]): this {
    for (const octets of messages) this.do({ kind: 'octets', transport, octets });
    return this;
  }

  runTo(at: number): this {
    for (;;) {
      const next = this.session.deadline();
      if (next === undefined || next > at) break;
      this.now = Math.max(this.now, next);
      this.session.tick(this.now as Instant);
    }
    this.now = at;
    return this;
  }

  actions(): SessionAction[] {
    const out: SessionAction[] = [];
    for (let a = this.session.poll(); a !== undefined; a = this.session.poll()) out.push(a);
    return out;
  }

  /** What was done, in short words. */
  words(): string[] {
    return this.actions().map((a) => {
      if (a.kind === 'send') return `send ${name(a.octets)} on ${a.transport}`;
      if (a.kind === 'state') return `${a.from}->${a.to}`;
      return 'transport' in a ? `${a.kind} ${a.transport}` : a.kind;
    });
  }

  /** Bring it up over our own connection; returns the transport. */
  establish(open: Open = PEER_OPEN): number {
    this.do({ kind: 'start' });
    const transport = this.#transports;
    this.do({ kind: 'connected', transport }).octets(transport, encodeOpen(open), encodeKeepalive());
    this.actions();
    return transport;
  }
}

function name(octets: Uint8Array): string {
  const m = messageOf(octets);
  if (m.type !== 3) return ['?', 'OPEN', 'UPDATE', '?', 'KEEPALIVE', 'REFRESH'][m.type]!;
  const n = decodeNotification(m.body);
  return `${n.code}/${n.subcode}`;
}

test('the way up', (t) => {
  const b = new Bench();
  b.do({ kind: 'start' });
  t.deepEqual(b.words(), ['connect 1', 'Idle->Connect']);
  b.do({ kind: 'connected', transport: 1 });
  t.deepEqual(b.words(), ['send OPEN on 1', 'Connect->OpenSent']);
  b.octets(1, encodeOpen(PEER_OPEN));
  t.deepEqual(b.words(), ['send KEEPALIVE on 1', 'OpenSent->OpenConfirm']);
  b.octets(1, encodeKeepalive());
  t.deepEqual(b.words(), ['established 1', 'OpenConfirm->Established']);
  t.deepEqual(b.session.negotiated?.families, ['ipv4', 'ipv6']);
});

test('monitors are given the OPEN of the peer as it came (RFC 7854 §4.10)', (t) => {
  const b = new Bench();
  // Each capability in a parameter of its own, one of them twice, and one that nobody knows.
  const parameters = '0206 0104 0001 0001 0206 0104 0001 0001 0206 4104 0000fc59 0204 ee02 abcd';
  const body = hex(`04 fc59 005a 0a000002 1e ${parameters}`);
  const open = hex(`${'ff'.repeat(16)} ${(19 + body.length).toString(16).padStart(4, '0')} 01`);
  const octets = new Uint8Array([...open, ...body]);
  b.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 }).octets(1, octets, encodeKeepalive());
  t.is(b.session.state, 'Established');
  const peer = { name: 'peer', address: Addr.parse('10.0.0.2')!, port: 179 };
  t.deepEqual(monitoredSession(peer, undefined, b.session.negotiated!).receivedOpen, octets);
});

test('the hold timer has the smaller of both values and fires exactly then', (t) => {
  const b = new Bench({ holdTimeS: 180 });
  b.establish({ ...PEER_OPEN, holdTimeS: 30 });
  b.runTo(29_999);
  t.is(b.session.state, 'Established');
  b.actions();
  b.runTo(30_000);
  t.deepEqual(b.words().slice(-4), ['send 4/0 on 1', 'close 1', 'down', 'Established->Idle']);
});

test('any KEEPALIVE restarts the hold timer', (t) => {
  const b = new Bench();
  const c = b.establish();
  for (let at = 60_000; at <= 600_000; at += 60_000) b.runTo(at).octets(c, encodeKeepalive());
  t.is(b.session.state, 'Established');
  b.runTo(600_000 + 89_999);
  t.is(b.session.state, 'Established');
  b.runTo(600_000 + 90_000);
  t.is(b.session.state, 'Idle');
});

test('keepalives go out every third of the hold time', (t) => {
  const b = new Bench();
  const c = b.establish();
  const sent: number[] = [];
  for (let at = 1000; at <= 89_000; at += 1000) {
    b.runTo(at);
    if (b.words().includes(`send KEEPALIVE on ${c}`)) sent.push(at);
  }
  t.deepEqual(sent, [30_000, 60_000]);
});

test('keepalives are a second apart at least, however short the hold time and the jitter (RFC 4271 §4.4)', (t) => {
  const b = new Bench({ holdTimeS: 3, random: () => 0 });
  const transport = b.establish();
  const sent: number[] = [];
  for (let at = 100; at <= 10_000; at += 100) {
    b.runTo(at);
    if (at % 2000 === 0) b.octets(transport, encodeKeepalive());
    for (const word of b.words()) if (word.startsWith('send KEEPALIVE')) sent.push(at);
  }
  t.deepEqual(
    sent,
    Array.from({ length: 10 }, (_, i) => 1000 * (i + 1)),
  );
});

test('a hold time of zero means no keepalives and no hold timer', (t) => {
  const b = new Bench();
  b.establish({ ...PEER_OPEN, holdTimeS: 0 });
  t.is(b.session.deadline(), undefined);
});

test('an attempt to connect that nobody answers is the reason people see, and the next one follows', (t) => {
  const b = new Bench();
  b.do({ kind: 'start' });
  t.is(b.session.lastError, undefined);
  b.actions();
  b.runTo(b.session.deadline()!);
  t.like(b.session.lastError, { origin: 'transport', text: 'connection timed out' });
  t.deepEqual(b.words(), ['close 1', 'connect 2']);
});

test('an OPEN that never comes is waited for four minutes', (t) => {
  const b = new Bench();
  b.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 });
  b.runTo(239_999);
  t.is(b.session.state, 'OpenSent');
  b.actions();
  b.runTo(240_000);
  t.true(b.words().includes('send 4/0 on 1'));
});

test('OPENs that do not fit the configuration are refused with the right code', (t) => {
  const answer = (open: Open, settings: Partial<SessionSettings> = {}): string => {
    const b = new Bench(settings);
    b.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 });
    b.actions();
    b.octets(1, encodeOpen(open));
    return b.words()[0]!;
  };
  const four = (asn: number): Open['capabilities'] =>
    PEER_OPEN.capabilities.map((c) => (c.kind === 'four-octet-as' ? { ...c, asn } : c));
  t.is(answer({ ...PEER_OPEN, capabilities: four(64999) }), 'send 2/2 on 1');
  t.is(answer({ ...PEER_OPEN, capabilities: four(0) }), 'send 2/2 on 1', 'RFC 7607');
  t.is(answer({ ...PEER_OPEN, identifier: 0 }), 'send 2/3 on 1', 'RFC 6286');
  t.is(answer({ ...PEER_OPEN, holdTimeS: 2 }), 'send 2/6 on 1');
  t.is(answer({ ...PEER_OPEN, version: 3 }), 'send 2/1 on 1');
  t.is(answer(PEER_OPEN, { families: ['ipv6'] }), 'send KEEPALIVE on 1');
  t.is(answer({ ...PEER_OPEN, capabilities: [] }, { families: ['ipv6'] }), 'send 2/7 on 1', 'IPv4 alone is implied');
  // Our own identifier from another AS is fine (RFC 6286), inside our AS it is not.
  t.is(answer({ ...PEER_OPEN, identifier: 0x0a000001 }), 'send KEEPALIVE on 1');
  const inside = localOpen({ ...SETTINGS, identifier: 0x0a000001 });
  t.is(answer(inside, { peerAs: 64600 }), 'send 2/3 on 1');
});

test('a message at the wrong time is a state machine error that names the state (RFC 6608)', (t) => {
  const b = new Bench();
  b.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 });
  b.actions();
  b.octets(1, encodeKeepalive());
  t.is(b.words()[0], 'send 5/1 on 1');
  const c = new Bench();
  c.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 }).octets(1, encodeOpen(PEER_OPEN));
  c.actions();
  c.octets(1, hex(`${'ff'.repeat(16)} 0017 02 0000 0000`));
  t.is(c.words()[0], 'send 5/2 on 1');
  const d = new Bench();
  const up = d.establish();
  d.octets(up, encodeOpen(PEER_OPEN));
  t.is(d.words()[0], `send 5/3 on ${up}`);
});

test('garbage ends the session with a header error and nothing after it is read', (t) => {
  const b = new Bench();
  const c = b.establish();
  b.octets(c, hex('00'.repeat(40)));
  t.deepEqual(b.words(), [`send 1/1 on ${c}`, `close ${c}`, 'down', 'Established->Idle']);
  t.is(b.session.lastError?.text, 'message header error: connection not synchronized (marker is not all ones)');
});

// Connection collision, RFC 4271 §6.8: 10.0.0.1 is ours. The peer has the larger identifier, so its connection stays.
test('of two connections the one of the side with the larger identifier stays', (t) => {
  for (const [identifier, expected] of [
    [0x0a000002, 'theirs'],
    [0x09000002, 'ours'],
  ] as const) {
    const open = { ...PEER_OPEN, identifier };
    const b = new Bench();
    b.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 });
    const theirs = b.inbound();
    b.octets(1, encodeOpen(open));
    b.actions();
    b.octets(theirs, encodeOpen(open));
    const words = b.words();
    const loser = expected === 'theirs' ? 1 : theirs;
    t.deepEqual(
      words.slice(0, 2).filter((w) => !w.includes('KEEPALIVE')),
      [`send 6/7 on ${loser}`, `close ${loser}`],
    );
    const winner = expected === 'theirs' ? theirs : 1;
    b.octets(winner, encodeKeepalive());
    t.is(b.session.state, 'Established');
    t.is(b.session.lastError, undefined, 'a collision is no error');
  }
});

test('a connection that its KEEPALIVE established and the Cease behind it ended leaves the place to the other one', (t) => {
  const b = new Bench();
  b.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 });
  const theirs = b.inbound();
  b.octets(1, encodeOpen(PEER_OPEN));
  b.actions();
  const cease = encodeNotification({ code: 6, subcode: 7, data: new Uint8Array() });
  b.octets(1, Buffer.concat([encodeKeepalive(), cease]));
  t.deepEqual(b.words(), ['established 1', 'close 1', 'down', 'OpenConfirm->OpenSent']);
  b.octets(theirs, encodeOpen(PEER_OPEN), encodeKeepalive());
  t.true(b.words().includes(`established ${theirs}`));
  t.is(b.session.state, 'Established');
});

test('an established session survives a new connection of the peer', (t) => {
  const b = new Bench();
  const c = b.establish();
  const theirs = b.inbound();
  t.deepEqual(b.words(), [`send OPEN on ${theirs}`]);
  b.octets(theirs, encodeOpen(PEER_OPEN));
  t.deepEqual(b.words(), [`send 6/7 on ${theirs}`, `close ${theirs}`]);
  t.is(b.session.state, 'Established');
  b.octets(c, encodeKeepalive());
  t.is(b.session.state, 'Established');
});

test('when the old connection of an established session dies, the new one of the peer takes over', (t) => {
  const b = new Bench();
  const c = b.establish();
  const theirs = b.inbound();
  b.do({ kind: 'closed', transport: c, reason: 'reset' });
  b.octets(theirs, encodeOpen(PEER_OPEN), encodeKeepalive());
  t.is(b.session.state, 'Established');
  t.is(b.words().filter((w) => w === 'down').length, 1);
});

test('refused connections are tried again with growing pauses, and a listening peer is met in between', (t) => {
  const b = new Bench();
  b.do({ kind: 'start' });
  const at: number[] = [];
  let transport = 1;
  b.actions();
  for (let i = 0; i < 5; i++) {
    b.do({ kind: 'closed', transport, reason: 'connection refused' });
    t.is(b.session.state, 'Active');
    b.runTo(b.session.deadline()!);
    const connect = b.actions().find((a) => a.kind === 'connect');
    transport = connect!.transport;
    at.push(b.now);
  }
  const pauses = at.map((x, i) => x - (at[i - 1] ?? 0));
  t.deepEqual(pauses, [10_000, 20_000, 30_000, 30_000, 30_000]);
  b.do({ kind: 'closed', transport, reason: 'connection refused' });
  b.octets(b.inbound(), encodeOpen(PEER_OPEN), encodeKeepalive());
  t.is(b.session.state, 'Established');
});

test('a session that flaps comes back later and later, a stable one at once', (t) => {
  const b = new Bench();
  b.establish();
  const pauses: number[] = [];
  for (let i = 0; i < 8; i++) {
    b.do({ kind: 'closed', transport: last(b), reason: 'reset' });
    const down = b.now;
    b.runTo(b.session.deadline()!);
    pauses.push(b.now - down);
    reconnect(b);
  }
  t.deepEqual(pauses, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  const c = last(b);
  for (let i = 0; i < 3; i++) b.runTo(b.now + 30_000).octets(c, encodeKeepalive());
  b.do({ kind: 'closed', transport: c, reason: 'reset' });
  t.is(b.session.deadline()! - b.now, 1000);
});

let lastTransport = 1;
function last(b: Bench): number {
  for (const a of b.actions()) if (a.kind === 'connect') lastTransport = a.transport;
  return lastTransport;
}
function reconnect(b: Bench): void {
  const transport = last(b);
  b.do({ kind: 'connected', transport }).octets(transport, encodeOpen(PEER_OPEN), encodeKeepalive());
}

test('a passive session waits for the peer and never connects', (t) => {
  const b = new Bench({ passive: true });
  b.do({ kind: 'start' });
  b.runTo(3_600_000);
  t.deepEqual(b.words(), ['Idle->Active']);
  const c = b.inbound();
  b.octets(c, encodeOpen(PEER_OPEN), encodeKeepalive());
  t.is(b.session.state, 'Established');
  b.do({ kind: 'closed', transport: c, reason: 'reset' });
  b.runTo(b.now + 3_600_000);
  t.false(b.words().some((w) => w.startsWith('connect')));
});

test('a stopped session refuses connections and says why it stopped', (t) => {
  const b = new Bench();
  const c = b.establish();
  b.do({ kind: 'stop', text: 'moving house' });
  const [send] = b.actions();
  t.is(send?.kind, 'send');
  t.is(
    Buffer.from(messageOf((send as { octets: Uint8Array }).octets).body).toString('latin1'),
    '\x06\x02\x0cmoving house',
  );
  t.is(b.session.deadline(), undefined);
  const theirs = b.inbound();
  t.deepEqual(b.words(), [`close ${theirs}`]);
  t.not(theirs, c);
});

test('with DelayOpen the OPEN waits for the timer or for the peer', (t) => {
  const b = new Bench({ delayOpenMs: 5000 });
  b.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 });
  t.deepEqual(b.words(), ['connect 1', 'Idle->Connect']);
  b.runTo(5000);
  t.deepEqual(b.words(), ['send OPEN on 1', 'Connect->OpenSent']);
  const c = new Bench({ delayOpenMs: 5000 });
  c.do({ kind: 'start' }).do({ kind: 'connected', transport: 1 });
  c.actions();
  c.octets(1, encodeOpen(PEER_OPEN));
  t.deepEqual(c.words(), ['send OPEN on 1', 'send KEEPALIVE on 1', 'Connect->OpenConfirm']);
});

test('a peer that takes no octets is given eight minutes (RFC 9687)', (t) => {
  const b = new Bench();
  const c = b.establish();
  b.do({ kind: 'congested', transport: c });
  for (let at = 60_000; at < 480_000; at += 60_000) b.runTo(at).octets(c, encodeKeepalive());
  b.do({ kind: 'drained', transport: c }).do({ kind: 'congested', transport: c });
  for (let at = 480_000; at < 900_000; at += 60_000) b.runTo(at).octets(c, encodeKeepalive());
  b.runTo(899_999);
  t.is(b.session.state, 'Established', 'progress restarts the timer');
  b.runTo(900_000);
  const actions = b.actions();
  t.true(actions.some((a) => a.kind === 'close' && a.abort));
  t.is(b.session.lastError?.text, 'send hold timer expired');
});

test('whatever happens in whatever order, nothing throws and every opened connection is closed in the end', (t) => {
  const anyOctets = fc.oneof(
    fc.constant(encodeOpen(PEER_OPEN)),
    fc.constant(encodeKeepalive()),
    fc.constant(encodeNotification({ code: 6, subcode: 4, data: new Uint8Array(0) })),
    fc.constant(hex(`${'ff'.repeat(16)} 0017 02 0000 0000`)),
    fc.uint8Array({ maxLength: 30 }),
  );
  const step = fc.oneof(
    fc.constantFrom('start', 'stop', 'reset', 'uplink-down', 'accept', 'connected', 'closed', 'congested', 'drained'),
    fc.record({ octets: anyOctets }),
    fc.record({ wait: fc.nat(100_000) }),
  );
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.boolean(),
        fc.array(fc.nat(5), { minLength: 1 }),
        (script, passive, picks) => {
          const b = new Bench({ passive });
          const open = new Set<number>();
          const opening = new Set<number>();
          let ups = 0;
          let turn = 0;
          const drain = (): void => {
            for (const a of b.actions()) {
              if (a.kind === 'connect') opening.add(a.transport);
              if (a.kind === 'close') {
                open.delete(a.transport);
                opening.delete(a.transport);
              }
              if (a.kind === 'send' && !open.has(a.transport))
                throw new Error('octets for a connection that is not open');
              if (a.kind === 'established') ups++;
              if (a.kind === 'down') ups--;
              if (ups < 0 || ups > 1) throw new Error('up twice or down twice');
            }
          };
          const pick = (set: Set<number>): number | undefined =>
            [...set][picks[turn++ % picks.length]! % Math.max(1, set.size)];
          for (const s of script) {
            if (typeof s === 'object') {
              const transport = pick(open);
              if ('wait' in s) b.runTo(b.now + s.wait);
              else if (transport !== undefined) b.octets(transport, s.octets);
            } else if (s === 'accept') {
              const transport = 5000 + turn++;
              open.add(transport);
              b.do({ kind: 'accepted', transport });
            } else if (s === 'connected') {
              const transport = pick(opening);
              if (transport === undefined) continue;
              opening.delete(transport);
              open.add(transport);
              b.do({ kind: s, transport });
            } else if (s === 'closed') {
              const transport = pick(open) ?? pick(opening);
              if (transport === undefined) continue;
              open.delete(transport);
              opening.delete(transport);
              b.do({ kind: s, transport, reason: 'gone' });
            } else if (s === 'congested' || s === 'drained') {
              const transport = pick(open);
              if (transport !== undefined) b.do({ kind: s, transport });
            } else b.do({ kind: s });
            drain();
            if (!STATES.includes(b.session.state)) return false;
          }
          b.do({ kind: 'stop' });
          drain();
          return open.size === 0 && opening.size === 0 && ups === 0 && b.session.deadline() === undefined;
        },
      ),
      { seed: 4271, numRuns: 2000 },
    ),
  );
});

test('a mark of a refresh that has the wrong length ends the session with 7/1 and the whole message (RFC 7313 §5)', (t) => {
  const b = new Bench();
  const c = b.establish();
  const bad = hex(`${'ff'.repeat(16)} 0018 05 0001 01 01 00`);
  b.octets(c, bad);
  const sent = b.actions().find((a) => a.kind === 'send') as { readonly octets: Uint8Array };
  const n = decodeNotification(messageOf(sent.octets).body);
  t.deepEqual([n.code, n.subcode], [7, 1]);
  t.deepEqual(n.data, bad);
  // A plain request of another length carries a filter, and is read as a request.
  const d = new Bench();
  d.octets(d.establish(), hex(`${'ff'.repeat(16)} 0018 05 0001 00 01 00`));
  t.is(d.session.state, 'Established');
});

const RESTART = {
  restartTimeS: 60,
  isRestarting: false,
  keptForwarding: true,
  families: ['ipv4'],
  longLivedS: 0,
} as const;

test('what ends a session for good is a hard reset to a peer that knows it, and names what it stands for (RFC 8538)', (t) => {
  const said = (peer: Open): number[] => {
    const b = new Bench({ restart: RESTART });
    b.establish(peer);
    b.do({ kind: 'stop', text: 'bye' });
    const [send] = b.actions() as { readonly octets: Uint8Array }[];
    return [...messageOf(send!.octets).body];
  };
  const knows = localOpen({ ...SETTINGS, localAs: 64601, peerAs: 64600, identifier: 0x0a000002, restart: RESTART });
  t.deepEqual(said(knows), [6, 9, 6, 2, 3, ...Buffer.from('bye')]);
  t.deepEqual(said(PEER_OPEN), [6, 2, 3, ...Buffer.from('bye')]);
});

test('the end of a session says whether its routes may be kept', (t) => {
  const knows = localOpen({ ...SETTINGS, localAs: 64601, peerAs: 64600, identifier: 0x0a000002, restart: RESTART });
  const end = (open: Open, act: (b: Bench, c: number) => void): boolean => {
    const b = new Bench({ restart: RESTART });
    const c = b.establish(open);
    act(b, c);
    const down = b.actions().find((a) => a.kind === 'down');
    return down?.kind === 'down' && down.mayRestart;
  };
  const notify = (subcode: number) => (b: Bench, c: number) =>
    b.octets(c, encodeNotification({ code: 6, subcode, data: new Uint8Array(0) }));
  const lost = (b: Bench, c: number) => b.do({ kind: 'closed', transport: c, reason: 'reset' });
  t.true(end(knows, lost));
  t.true(end(knows, notify(4)));
  t.false(end(knows, notify(9)), 'hard reset');
  t.true(
    end(knows, (b) => b.runTo(90_000)),
    'hold timer',
  );
  t.false(end(knows, (b) => b.do({ kind: 'stop' })));
  t.false(end(knows, (b) => b.do({ kind: 'uplink-down' })));
  t.false(end(PEER_OPEN, lost), 'the peer knows no restarts');
  const old = {
    ...knows,
    capabilities: knows.capabilities.map((c) => (c.kind === 'graceful-restart' ? { ...c, flags: 0 } : c)),
  };
  t.true(end(old, lost));
  t.false(end(old, notify(4)), 'RFC 4724 alone keeps nothing over a NOTIFICATION');
});
