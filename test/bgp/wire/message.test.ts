import test from 'ava';
import fc from 'fast-check';
import type { Capability } from '../../../bgp/wire/capability.ts';
import { shutdownData, shutdownText } from '../../../bgp/wire/fault.ts';
import {
  decodeNotification,
  decodeOpen,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  encodeRouteRefresh,
  MessageReader,
  type Open,
} from '../../../bgp/wire/message.ts';
import { hex } from '../kit/describe.ts';

const MARKER = 'ff'.repeat(16);

/** What a reader says about octets that arrive in pieces of the given sizes. */
function readAll(octets: Uint8Array, sizes: readonly number[], allowsExtended = false): string[] {
  const reader = new MessageReader();
  reader.allowsExtended = allowsExtended;
  const out: string[] = [];
  let at = 0;
  for (let i = 0; at < octets.length; i++) {
    const end = Math.min(octets.length, at + (sizes[i % sizes.length] ?? octets.length));
    reader.push(octets.slice(at, end));
    at = end;
    for (let m = reader.next(); m !== undefined; m = reader.next()) {
      if ('handling' in m) return [...out, `fault ${m.code}/${m.subcode} ${Buffer.from(m.data).toString('hex')}`];
      out.push(`${m.type} ${Buffer.from(m.body).toString('hex')}`);
    }
  }
  return out;
}

const anyMessage = fc.oneof(
  fc.constant(encodeKeepalive()),
  fc
    .record({ code: fc.nat(255), subcode: fc.nat(255), data: fc.uint8Array({ maxLength: 300 }) })
    .map(encodeNotification),
  fc.record({ afi: fc.nat(65535), safi: fc.nat(255), subtype: fc.nat(255) }).map(encodeRouteRefresh),
);

test('framing does not depend on where the transport cuts the stream', (t) => {
  const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(anyMessage, { maxLength: 12 }), cuts, (messages, sizes) => {
      const stream = new Uint8Array(Buffer.concat(messages));
      const whole = readAll(stream, [stream.length]);
      t.is(whole.length, messages.length);
      t.deepEqual(readAll(stream, sizes), whole);
      t.deepEqual(readAll(stream, [1]), whole);
    }),
    { seed: 4271, numRuns: 200 },
  );
});

test('header errors are reported with the code and data of RFC 4271 §6.1', (t) => {
  const first = (text: string, extended = false) => readAll(hex(text), [1e6], extended)[0];
  t.is(first(`${'ff'.repeat(15)}fe 0013 04`), 'fault 1/1 ');
  t.is(first(`${MARKER} 0012 04`), 'fault 1/2 0012');
  t.is(first(`${MARKER} 0014 04 00`), 'fault 1/2 0014');
  t.is(first(`${MARKER} 1001 02`), 'fault 1/2 1001');
  t.is(first(`${MARKER} 0013 02`), 'fault 1/2 0013');
  t.is(first(`${MARKER} 001c 01`), 'fault 1/2 001c');
  t.is(first(`${MARKER} 0014 03 00`), 'fault 1/2 0014');
  t.is(first(`${MARKER} 0013 09`), 'fault 1/3 09');
});

test('messages beyond 4,096 octets need the extended message capability, OPEN and KEEPALIVE never are', (t) => {
  const update = new Uint8Array(65535);
  update.set(hex(`${MARKER} ffff 02`));
  t.is(readAll(update, [4000], true).length, 1);
  t.is(readAll(update, [4000])[0], 'fault 1/2 ffff');
  const open = update.slice();
  open[18] = 1;
  t.is(readAll(open, [4000], true)[0], 'fault 1/2 ffff');
});

test('a faulty stream stays faulty', (t) => {
  const reader = new MessageReader();
  reader.push(hex(`${MARKER} 0012 04`));
  t.truthy(reader.next());
  reader.push(encodeKeepalive());
  const again = reader.next();
  t.true(again !== undefined && 'handling' in again);
});

const anyCapability: fc.Arbitrary<Capability> = fc.oneof(
  fc.record({ kind: fc.constant('multiprotocol' as const), afi: fc.nat(65535), safi: fc.nat(255) }),
  fc.constantFrom<Capability>(
    { kind: 'route-refresh' },
    { kind: 'extended-message' },
    { kind: 'enhanced-refresh' },
    { kind: 'link-local-next-hop' },
  ),
  fc.record({ kind: fc.constant('role' as const), role: fc.nat(255) }),
  fc.record({ kind: fc.constant('four-octet-as' as const), asn: fc.nat(0xffffffff) }),
  fc.record({
    kind: fc.constant('fqdn' as const),
    host: fc.constantFrom('a', 'core1.zrh'),
    domain: fc.constantFrom('', 'dn42'),
  }),
  fc.record({
    kind: fc.constant('graceful-restart' as const),
    flags: fc.nat(15),
    timeS: fc.nat(4095),
    families: fc.array(fc.record({ afi: fc.nat(65535), safi: fc.nat(255), flags: fc.nat(255) }), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('add-path' as const),
    entries: fc.array(fc.record({ afi: fc.nat(65535), safi: fc.nat(255), mode: fc.nat(3) }), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('extended-next-hop' as const),
    entries: fc.array(fc.record({ afi: fc.nat(65535), safi: fc.nat(65535), nextHopAfi: fc.nat(65535) }), {
      maxLength: 3,
    }),
  }),
  fc.record({
    kind: fc.constant('unknown' as const),
    code: fc.integer({ min: 128, max: 255 }),
    value: fc.uint8Array({ maxLength: 200, size: 'max' }),
  }),
);

test('an OPEN survives encoding and decoding, also with more than 255 octets of parameters (RFC 9072)', (t) => {
  let long = 0;
  fc.assert(
    fc.property(
      fc.array(anyCapability, { maxLength: 20, size: 'max' }),
      fc.nat(65535),
      fc.nat(0xffffffff),
      (capabilities, n, identifier) => {
        const open: Open = { version: 4, asn: n, holdTimeS: 65535 - n, identifier, capabilities };
        const octets = encodeOpen(open);
        if (octets.length > 29 + 255) long++;
        t.deepEqual(decodeOpen(octets.subarray(19)), open);
      },
    ),
    { seed: 9072, numRuns: 300 },
  );
  t.true(long > 10);
});

test('malformed OPENs are refused with the subcode that names the mistake', (t) => {
  const fault = (body: string) => {
    const open = decodeOpen(hex(body));
    return 'handling' in open ? `${open.subcode} ${Buffer.from(open.data).toString('hex')}` : 'accepted';
  };
  const head = '04 fde8 005a 0a000001';
  t.is(fault(`03 fde8 005a 0a000001 00`), '1 0004');
  t.is(fault(`${head} 00`), 'accepted');
  t.is(fault(`${head} 02 0200`), 'accepted');
  t.is(fault(`${head} 02 0100`), '4 ');
  t.is(fault(`${head} 03 0200`), '0 ');
  t.is(fault(`${head} 02 0201`), '0 ');
  t.is(fault(`${head} 04 0202 0200`), 'accepted');
  t.is(fault(`${head} 04 0202 0201`), '0 ');
  t.is(fault(`${head} ff ff 0005 02 0002 0200`), 'accepted');
  t.is(fault(`${head} ff ff`), '0 ');
  t.is(fault(`${head} ff ff 0006 02 0002 0200`), '0 ');
});

test('a shutdown text keeps whole characters, loses control characters and ignores what is malformed (RFC 9003)', (t) => {
  t.is(shutdownText(6, 2, shutdownData('back at noon')), 'back at noon');
  const long = shutdownData('ü'.repeat(200));
  t.is(long.length, 255);
  t.is(shutdownText(6, 4, long), 'ü'.repeat(127));
  t.is(shutdownText(6, 2, shutdownData('a\nb\u001bc')), 'a b c');
  t.is(shutdownText(6, 2, hex('0361')), undefined);
  t.is(shutdownText(6, 2, hex('02c328')), undefined);
  t.is(shutdownText(6, 7, shutdownData('x')), undefined);
  t.is(decodeNotification(hex('0602')).data.length, 0);
});
