import test from 'ava';
import fc from 'fast-check';
import { decodeAddress, writeAddressAgain } from '../../../../router/kernel/netlink/address.ts';
import { decodeSocket } from '../../../../router/kernel/netlink/diag.ts';
import { decodeLink } from '../../../../router/kernel/netlink/link.ts';
import { decodePermanent, writeNeighbourAgain } from '../../../../router/kernel/netlink/neighbour.ts';
import { decodeProcessEvent } from '../../../../router/kernel/netlink/process.ts';
import { decodeRoute, routeIdentity } from '../../../../router/kernel/netlink/route.ts';
import { decodeRule } from '../../../../router/kernel/netlink/rule.ts';
import { refusalOf } from '../../../../router/kernel/netlink/socket.ts';
import {
  decodeDevice,
  decodeFamily,
  type WgPeerSettings,
  writeSetDevice,
} from '../../../../router/kernel/netlink/wireguard.ts';
import { Addr, Prefix } from '../../../../router/lib/addr.ts';
import { messagesOf, NetlinkWriter } from '../../../../router/wire/netlink.ts';

/** Types that the decoders look at, and one they do not. */
const TYPES = [2, 3, 16, 17, 20, 21, 24, 25, 28, 32, 33, 99];

/** Messages that are right outside, with any octets inside. */
const anyMessage = fc
  .record({ type: fc.constantFrom(...TYPES), flags: fc.nat(0xffff), body: fc.uint8Array({ maxLength: 160 }) })
  .map(({ type, flags, body }) => {
    const w = new NetlinkWriter();
    w.begin(type, flags, 1).bytes(body).end();
    return w.octets.slice();
  });

/** The same with well-formed attributes of any type and content. */
const anyAttributes = fc
  .record({
    type: fc.constantFrom(...TYPES),
    fixed: fc.uint8Array({ minLength: 8, maxLength: 16 }),
    attributes: fc.array(fc.tuple(fc.nat(40), fc.uint8Array({ maxLength: 40 })), { maxLength: 12 }),
  })
  .map(({ type, fixed, attributes }) => {
    const w = new NetlinkWriter();
    w.begin(type, 0, 1).bytes(fixed.subarray(0, fixed.length & ~3));
    for (const [t, v] of attributes) w.attribute(t, v);
    w.end();
    return w.octets.slice();
  });

function readAll(m: Uint8Array): void {
  const w = new NetlinkWriter();
  decodeLink(m);
  const address = decodeAddress(m);
  if (address !== undefined) writeAddressAgain(w, 1, address.message);
  const route = decodeRoute(m);
  if (route !== undefined) routeIdentity(route, w);
  decodeRule(m);
  const neighbour = decodePermanent(m);
  if (neighbour !== undefined) writeNeighbourAgain(w, 1, neighbour.message);
  decodeSocket(m);
  decodeProcessEvent(m);
  decodeFamily(m);
  decodeDevice([m]);
  refusalOf(m);
}

test('no octets make a decoder throw', (t) => {
  fc.assert(
    fc.property(fc.oneof(anyMessage, anyAttributes), (m) => {
      for (const one of messagesOf(m)) if (one !== undefined) readAll(one);
    }),
    { seed: 4, numRuns: 3000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (octets) => {
      for (const one of messagesOf(octets)) if (one !== undefined) readAll(one);
    }),
    { seed: 5, numRuns: 1000 },
  );
  t.pass();
});

const anyPrefix = fc.oneof(
  fc.tuple(fc.integer(), fc.nat(32)).map(([bits, n]) => Prefix.containing(Addr.v4(bits), n)!),
  fc.tuple(fc.integer(), fc.integer(), fc.nat(128)).map(([a, b, n]) => Prefix.containing(Addr.v6(a, b, 0, 1), n)!),
);
const anyKey = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((k) => k.some((x) => x !== 0));
const anyPeer = fc.record({
  publicKey: anyKey,
  presharedKey: fc.option(anyKey, { nil: undefined }),
  endpoint: fc.option(fc.record({ addr: anyPrefix.map((p) => p.addr), port: fc.nat(65535) }), { nil: undefined }),
  allowedIps: fc.array(anyPrefix, { maxLength: 5 }),
  keepaliveS: fc.nat(65535),
});

test('a WireGuard device is read as it was written', (t) => {
  fc.assert(
    fc.property(
      anyKey,
      fc.nat(65535),
      fc.uniqueArray(anyPeer, { selector: (p) => p.publicKey.join() }),
      (key, port, peers) => {
        const w = new NetlinkWriter();
        w.begin(30, 0, 1);
        writeSetDevice(w, 'mlw-a', { privateKey: key, listenPort: port, fwmark: 7, peers });
        w.end();
        const read = decodeDevice([w.octets.slice()])!;
        const settings = read.peers.map(
          ({ latestHandshakeMs: _h, rxBytes: _r, txBytes: _t, ...rest }): WgPeerSettings => rest,
        );
        t.deepEqual(
          { ...read, peers: settings },
          { privateKey: key, publicKey: undefined, listenPort: port, fwmark: 7, peers },
        );
      },
    ),
    { seed: 51820, numRuns: 200 },
  );
});
