import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { wanted } from '../../../bgp/rpki/rtr-group.ts';
import { hex } from '../kit/describe.ts';
import {
  ClientUnderTest,
  cacheReset,
  cacheResponse,
  endOfData,
  errorPdu,
  pdu,
  prefixPdu,
  serialNotify,
} from '../kit/rtr.ts';

const RESET_QUERY = '0102000000000008';
const A = '172.20.0.0/24-29 AS4242420001';
const B = 'fd42:1::/48-48 AS4242420002';
const C = '172.20.1.0/24-24 AS0';

const answer = (v: number, session: number, serial: number, ...vrps: string[]): Uint8Array[] => [
  cacheResponse(v, session),
  ...vrps.map((text) => prefixPdu(v, text)),
  endOfData(v, session, serial),
];

/** A client that has A and B, at serial 7 of session 0x1234. */
function synchronized(timers = {}): ClientUnderTest {
  const c = new ClientUnderTest(timers);
  c.do('start');
  c.do('opened');
  c.receive(...answer(1, 0x1234, 7, A, B));
  c.did();
  return c;
}

test('a new client asks for everything and has it after End of Data', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  t.deepEqual(c.did(), ['connect']);
  c.do('opened');
  t.deepEqual(c.did(), [RESET_QUERY]);
  c.receive(cacheResponse(1, 0x1234), prefixPdu(1, A), prefixPdu(1, B));
  t.deepEqual(c.did(), [], 'nothing is loaded before the end');
  t.false(c.client.hasData);
  c.receive(endOfData(1, 0x1234, 7));
  t.deepEqual(c.did(), ['load all']);
  t.deepEqual([...c.vrps], [A, B]);
  t.is(c.client.state, 'synchronized');
  t.true(c.client.hasData);
});

test('a Serial Notify with another serial is followed by a Serial Query and its changes', (t) => {
  const c = synchronized();
  c.receive(serialNotify(1, 0x1234, 7));
  t.deepEqual(c.did(), [], 'nothing new');
  c.receive(serialNotify(1, 0x1234, 8));
  t.deepEqual(c.did(), ['010112340000000c00000007']);
  c.receive(...answer(1, 0x1234, 8, `-${A}`, C));
  t.deepEqual(c.did(), ['load']);
  t.deepEqual([...c.vrps], [B, C]);
  t.is(c.client.serial, 8);
});

test('a notify during an answer is followed up after it', (t) => {
  const c = synchronized();
  c.receive(serialNotify(1, 0x1234, 8));
  c.receive(cacheResponse(1, 0x1234), serialNotify(1, 0x1234, 9), endOfData(1, 0x1234, 8));
  t.deepEqual(c.did(), ['010112340000000c00000007', 'load', '010112340000000c00000008']);
});

test('the cache is asked again after the refresh interval', (t) => {
  const c = synchronized();
  c.pass(3_599_000);
  t.deepEqual(c.did(), []);
  c.pass(1_000);
  t.deepEqual(c.did(), ['010112340000000c00000007']);
});

test('a Cache Reset is followed by a Reset Query on the same connection', (t) => {
  const c = synchronized();
  c.do('refresh');
  c.receive(cacheReset(1));
  t.deepEqual(c.did(), ['010112340000000c00000007', RESET_QUERY]);
  c.receive(...answer(1, 0x1234, 99, C));
  t.deepEqual(c.did(), ['load all']);
  t.deepEqual([...c.vrps], [C]);
});

test('a cache that has begun a new session is asked for everything; the old data stays until then', (t) => {
  const c = synchronized();
  c.receive(serialNotify(1, 0x9999, 1));
  t.deepEqual(c.did(), ['close']);
  t.true(c.client.hasData);
  t.deepEqual([...c.vrps], [A, B]);
  c.pass(1_000);
  c.do('opened');
  t.deepEqual(c.did(), ['connect', RESET_QUERY]);
  const other = synchronized();
  other.do('refresh');
  other.receive(cacheResponse(1, 0x9999));
  t.deepEqual(other.did(), ['010112340000000c00000007', 'close']);
});

test('a cache of version 0 is spoken to in version 0, whichever way it says so', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  c.do('opened');
  c.receive(...answer(0, 5, 3, A));
  t.is(c.client.version, 0);
  t.deepEqual([...c.vrps], [A]);
  const d = new ClientUnderTest();
  d.do('start');
  d.do('opened');
  d.receive(errorPdu(0, 4, 'too new'));
  t.deepEqual(d.did(), ['connect', RESET_QUERY, 'close']);
  d.pass(300);
  d.do('opened');
  t.deepEqual(d.did(), ['connect', '0002000000000008']);
  d.receive(...answer(0, 5, 3, A));
  t.is(d.client.state, 'synchronized');
});

test('a Serial Notify before the first answer is ignored, whatever its version', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  c.do('opened');
  c.receive(serialNotify(2, 1, 1), ...answer(1, 0x1234, 7, A));
  t.is(c.client.state, 'synchronized');
  t.is(c.client.version, 1);
});

test('a version that changes is a fault', (t) => {
  const c = synchronized();
  c.do('refresh');
  c.did();
  c.receive(cacheResponse(0, 0x1234));
  const [report, close] = c.did();
  t.true(report!.startsWith('010a0008'), 'error 8: unexpected protocol version');
  t.is(close, 'close');
});

test('after a lost connection the client comes back, with pauses up to the retry interval, and asks for what it missed', (t) => {
  const c = synchronized();
  c.closed('connection reset');
  t.is(c.client.lastError?.text, 'connection reset');
  t.true(c.client.hasData, 'data outlives the connection');
  c.pass(1_000);
  t.deepEqual(c.did(), ['connect']);
  c.do('opened');
  t.deepEqual(c.did(), ['010112340000000c00000007']);
  const pauses: number[] = [];
  c.did();
  for (let i = 0; i < 14; i++) {
    c.closed('connection refused');
    const from = c.now;
    while (!c.did().includes('connect')) c.pass(1_000);
    pauses.push((c.now - from) / 1000);
  }
  t.deepEqual(pauses.slice(0, 4), [2, 4, 8, 16]);
  t.is(pauses.at(-1), 600);
});

test('data that was not renewed is thrown away after the expire interval', (t) => {
  const c = synchronized({ expireS: 900, retryS: 60, refreshS: 600 });
  c.closed('gone');
  c.pass(899_000);
  t.false(c.did().includes('expired'));
  c.pass(1_000);
  t.true(c.did().includes('expired'));
  t.false(c.client.hasData);
  t.is(c.client.expiresAt, undefined);
});

test('the cache says the intervals within the bounds of RFC 8210 §6, the configuration wins', (t) => {
  const c = new ClientUnderTest({ retryS: 30 });
  c.do('start');
  c.do('opened');
  c.receive(cacheResponse(1, 1), endOfData(1, 1, 1, [90_000, 600, 1]));
  t.deepEqual(c.client.timersS, { refresh: 86_400, retry: 30, expire: 86_401 });
});

test('a cache that refuses the serial of another session, as StayRTR does, is asked for everything', (t) => {
  for (const refusal of ['error', 'close'] as const) {
    const c = synchronized();
    c.do('refresh');
    if (refusal === 'error') c.receive(errorPdu(1, 0, 'Session ID mismatch: client is desynchronized'));
    else c.closed('closed by the peer');
    c.did();
    c.pass(1_000);
    c.do('opened');
    t.deepEqual(c.did(), ['connect', RESET_QUERY], refusal);
    t.true(c.client.hasData);
  }
});

test('a cache without data is tried again', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  c.do('opened');
  c.receive(errorPdu(1, 2, 'come back later\u001b[2J'));
  t.is(c.client.lastError?.text, 'the cache says: no data available: come back later [2J');
  t.is(c.client.state, 'waiting');
  t.true(c.client.isFailing);
});

test('a cache that does not go on is given up', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  c.do('opened');
  c.receive(cacheResponse(1, 1), prefixPdu(1, A));
  c.pass(59_000);
  t.is(c.client.state, 'receiving');
  c.pass(1_000);
  t.is(c.client.lastError?.text, 'the cache does not answer');
});

test('router keys are passed over', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  c.do('opened');
  c.receive(cacheResponse(1, 1), pdu(1, 9, 0x0100, ...new Array(40).fill(7)), prefixPdu(1, A), endOfData(1, 1, 1));
  t.deepEqual([...c.vrps], [A]);
});

test('what contradicts the data that is there ends the session with its error', (t) => {
  const c = synchronized();
  c.loadsAtOnce = false;
  c.do('refresh');
  c.receive(...answer(1, 0x1234, 8, `-${C}`));
  c.did();
  c.refused(6, 'withdrawal of an unknown record');
  const [report] = c.did();
  t.true(report!.startsWith('010a0006'));
  c.pass(1_000);
  c.do('opened');
  t.deepEqual(c.did(), ['connect', RESET_QUERY]);
});

test('malformed and misplaced PDUs end the session with the error of RFC 8210 §12', (t) => {
  const cases: readonly [string, number, Uint8Array][] = [
    ['a prefix PDU too short', 0, pdu(1, 4, 0, 1, 24, 24, 0)],
    ['a length below the header', 0, Uint8Array.from([1, 3, 0, 0, 0, 0, 0, 7])],
    ['a length of gigabytes', 0, Uint8Array.from([1, 9, 0, 0, 0xff, 0xff, 0xff, 0xff])],
    ['a maximum length below the length', 0, pdu(1, 4, 0, 1, 24, 23, 0, 172, 20, 0, 0, 0, 0, 0, 1)],
    ['a maximum length beyond the family', 0, pdu(1, 4, 0, 1, 24, 33, 0, 172, 20, 0, 0, 0, 0, 0, 1)],
    ['host bits', 0, pdu(1, 4, 0, 1, 24, 24, 0, 172, 20, 0, 1, 0, 0, 0, 1)],
    ['a withdrawal in a full answer', 0, prefixPdu(1, `-${A}`)],
    ['a query from a cache', 3, pdu(1, 2, 0)],
    ['a second Cache Response', 3, cacheResponse(1, 1)],
    ['a Cache Reset in an answer', 3, cacheReset(1)],
    ['a router key without its key', 0, pdu(1, 9, 0x0100, ...new Array(20).fill(7))],
    ['an End of Data of another session', 0, endOfData(1, 2, 7)],
    ['an unknown type', 5, pdu(1, 77, 0)],
  ];
  for (const [what, code, octets] of cases) {
    const c = new ClientUnderTest();
    c.do('start');
    c.do('opened');
    c.receive(cacheResponse(1, 1));
    c.did();
    c.receive(octets);
    const [report, close] = c.did();
    t.is(report?.slice(0, 8), `010a000${code}`, what);
    t.is(close, 'close', what);
    t.is(c.client.state, 'waiting', what);
  }
});

test('an Error Report is never answered with another', (t) => {
  const c = synchronized();
  c.receive(errorPdu(1, 0, 'you did something'));
  t.deepEqual(c.did(), ['close']);
});

test('a Cache Reset in answer to a Reset Query ends the session: it would be asked for and sent for ever', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  c.do('opened');
  c.receive(cacheReset(1));
  const did = c.did();
  t.deepEqual(did.slice(0, 2), ['connect', RESET_QUERY]);
  t.true(did[2]!.startsWith('010a0003'));
  t.is(did[3], 'close');
});

test('router keys do not exist in version 0', (t) => {
  const c = new ClientUnderTest();
  c.do('start');
  c.do('opened');
  c.receive(cacheResponse(0, 1), pdu(0, 9, 0x0100, ...new Array(40).fill(7)));
  t.true(c.did().some((d) => d.startsWith('000a0005')));
});

test('an Error Report that is malformed itself is not answered', (t) => {
  for (const report of [pdu(1, 10, 0, 0, 0), Uint8Array.from([1, 10, 0, 0, 0xff, 0xff, 0xff, 0xff])]) {
    const c = synchronized();
    c.receive(report);
    t.deepEqual(c.did(), ['close']);
  }
});

test('data that expires while newer data is being loaded is not thrown away', (t) => {
  const c = synchronized({ expireS: 900, retryS: 60, refreshS: 890 });
  c.loadsAtOnce = false;
  c.pass(890_000);
  c.receive(...answer(1, 0x1234, 8, C));
  c.pass(60_000);
  t.false(c.did().includes('expired'));
  c.do('loaded');
  t.true(c.client.hasData);
  t.is(c.client.state, 'synchronized');
  c.pass(1_000_000);
  t.true(c.did().includes('expired'), 'nothing came after that');
});

test('what contradicts the data is asked for anew also where the connection has ended meanwhile', (t) => {
  const c = synchronized();
  c.loadsAtOnce = false;
  c.do('refresh');
  c.receive(...answer(1, 0x1234, 8, `-${C}`));
  c.closed('connection reset');
  c.refused(6, 'withdrawal of an unknown record');
  c.did();
  c.pass(1_000);
  c.do('opened');
  t.deepEqual(c.did(), ['connect', RESET_QUERY]);
});

test('a cache that has learned version 1 is spoken to in it again', (t) => {
  const old = (): ClientUnderTest => {
    const c = new ClientUnderTest({ expireS: 900, retryS: 60, refreshS: 600 });
    c.do('start');
    c.do('opened');
    c.receive(...answer(0, 5, 3, A));
    c.did();
    return c;
  };
  const told = old();
  told.do('refresh');
  told.receive(errorPdu(1, 4, 'no more of that'));
  told.did();
  told.pass(1_000);
  told.do('opened');
  t.deepEqual(told.did(), ['connect', RESET_QUERY]);
  const away = old();
  away.closed('gone');
  away.pass(901_000);
  away.did();
  away.do('opened');
  t.deepEqual(away.did(), [RESET_QUERY], 'after all was forgotten');
});

const golden = (v: number): string[] =>
  readFileSync(join(process.cwd(), `test/golden/rtr/stayrtr-0.5.1-v${v}.txt`), 'utf8')
    .split('\n')
    .filter((l) => l !== '');

for (const v of [0, 1]) {
  test(`what StayRTR says in version ${v} is understood, and answered as it expects`, (t) => {
    const c = new ClientUnderTest();
    if (v === 0) {
      // It has said that it knows nothing newer.
      c.do('start');
      c.do('opened');
      c.receive(errorPdu(0, 4));
      c.pass(1_000);
    } else c.do('start');
    c.do('opened');
    // The last query of the session asks for a serial that is gone: a client would not.
    const lines = golden(v);
    const session = lines.slice(0, lines.indexOf('# closed by the cache')).filter((l) => !/^#|fffffff0$/.test(l));
    for (const line of session) {
      const [who, octets] = line.split(' ') as [string, string];
      if (who === 'router') t.true(c.did().includes(octets), octets);
      else if (!octets.startsWith(`0${v}08`)) c.receive(hex(octets));
    }
    const x = '10.0.0.0/8-8 AS0';
    t.deepEqual([...c.vrps].sort(), [x, A, B].sort());
    t.is(c.client.serial, 3);
    t.is(c.client.version, v);
    t.deepEqual(
      c.client.timersS,
      v === 0 ? { refresh: 3600, retry: 600, expire: 7200 } : { refresh: 900, retry: 60, expire: 1800 },
    );
  });
}

test('what StayRTR says against us is understood', (t) => {
  const errors = golden(1)
    .filter((l) => /^cache 0.0a/.test(l))
    .map((l) => hex(l.split(' ')[1]!));
  t.is(errors.length, 2);
  const [session, version] = errors as [Uint8Array, Uint8Array];
  const c = synchronized();
  c.do('refresh');
  c.receive(session);
  t.is(c.client.lastError?.text, 'the cache says: corrupt data: Session ID mismatch: client is desynchronized');
  c.did();
  c.pass(1_000);
  c.do('opened');
  t.deepEqual(c.did(), ['connect', RESET_QUERY]);
  c.receive(version);
  t.is(c.client.lastError?.text, 'unsupported protocol version: Bad protocol version');
  t.is(c.client.version, 0);
});

test('the answer does not depend on how TCP cut the stream', (t) => {
  const stream = Buffer.concat([...answer(1, 1, 1, A, B, C), serialNotify(1, 1, 2)]);
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 30 }), (cuts) => {
      const c = new ClientUnderTest();
      c.do('start');
      c.do('opened');
      let at = 0;
      for (const cut of [...cuts.sort((a, b) => a - b), stream.length]) {
        c.receive(stream.subarray(at, cut));
        at = cut;
      }
      t.deepEqual([...c.vrps], [A, B, C]);
      t.is(c.client.state, 'querying');
    }),
    { seed: 8210, numRuns: 100 },
  );
});

test('random octets never throw, and end the session or leave it waiting for more', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }), fc.nat(11), (chunks, type) => {
      const c = new ClientUnderTest();
      c.do('start');
      c.do('opened');
      c.receive(cacheResponse(1, 1));
      for (const chunk of chunks) {
        const octets = Uint8Array.from(chunk);
        if (octets.length >= 8) octets.set([1, type, 0, 0, 0, 0, 0, octets.length]);
        c.receive(octets);
      }
      t.true(['receiving', 'waiting', 'synchronized', 'querying'].includes(c.client.state));
    }),
    { seed: 8210, numRuns: 300 },
  );
});

test('a stopped client does nothing and has nothing', (t) => {
  const c = synchronized();
  c.do('stop');
  t.deepEqual(c.did(), ['close']);
  t.is(c.client.deadline(), undefined);
  t.false(c.client.hasData);
  c.do('start');
  c.do('opened');
  t.deepEqual(c.did(), ['connect', RESET_QUERY]);
});

test('caches of the best preference run together; the next ones only while all of those fail', (t) => {
  const cache = (preference: number, state: 'off' | 'new' | 'good' | 'bad') => ({
    preference,
    isRunning: state !== 'off',
    isFailing: state === 'bad',
    isSynchronized: state === 'good',
  });
  const cases: readonly [Parameters<typeof wanted>[0], boolean[]][] = [
    [
      [cache(1, 'off'), cache(1, 'off'), cache(2, 'off')],
      [true, true, false],
    ],
    [
      [cache(1, 'new'), cache(1, 'bad'), cache(2, 'off')],
      [true, true, false],
    ],
    [
      [cache(1, 'bad'), cache(1, 'bad'), cache(2, 'off'), cache(3, 'off')],
      [true, true, true, false],
    ],
    [
      [cache(1, 'bad'), cache(2, 'good'), cache(3, 'off')],
      [true, true, false],
    ],
    [
      [cache(1, 'bad'), cache(2, 'bad'), cache(3, 'off')],
      [true, true, true],
    ],
    [
      [cache(1, 'new'), cache(2, 'good')],
      [true, true],
    ],
    [
      [cache(1, 'good'), cache(2, 'good')],
      [true, false],
    ],
    [[], []],
  ];
  for (const [members, expected] of cases) t.deepEqual(wanted(members), expected);
});
