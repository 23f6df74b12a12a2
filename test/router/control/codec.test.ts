import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  FrameReader,
} from '../../../router/control/codec.ts';
import { DESCRIPTOR } from '../../../router/control/descriptor.ts';
import { BODY_OF, type Request, type Verb } from '../../../router/control/messages.ts';
import { ROUTE_IN_FULL } from '../cli/samples.ts';

test('the descriptor is the one control.proto describes', (t) => {
  const proto = readFileSync(join(import.meta.dirname, '../../../../router/control/control.proto'), 'utf8');
  const { root } = protobuf.parse(proto, new protobuf.Root(), { keepCase: true });
  t.deepEqual(DESCRIPTOR as unknown, JSON.parse(JSON.stringify(root.toJSON())));
});

const body = (frame: Uint8Array): Uint8Array => frame.subarray(4);

test('every verb survives encoding, with its arguments filled in', (t) => {
  for (const verb of Object.keys(BODY_OF) as Verb[]) {
    const decoded = decodeRequest(body(encodeRequest({ id: 7, verb, args: {} } as unknown as Request)));
    t.is(decoded?.verb, verb);
    t.is(decoded?.id, 7);
  }
});

test('an absent optional field stays absent, an empty list stays a list', (t) => {
  const peer = { name: 'a', asn: 1, address: '::1' };
  const frame = encodeResponse('bgp_show', {
    id: 1,
    more: false,
    body: { asn: 5, router_id: '1.1.1.1', peers: [peer] },
  });
  const answer = decodeResponse(body(frame))!.body as { peers: Record<string, unknown>[] };
  t.false('since_s' in answer.peers[0]!);
  t.deepEqual(answer.peers[0]!['capabilities'], []);
  t.is(answer.peers[0]!['received'], 0);
});

test('a route survives encoding with all that it may say', (t) => {
  const routes = { routes: [ROUTE_IN_FULL], next: '', place: '' };
  const frame = encodeResponse('bgp_routes', { id: 1, more: false, body: routes });
  t.deepEqual(JSON.parse(JSON.stringify(decodeResponse(body(frame))!.body)), JSON.parse(JSON.stringify(routes)));
});

test('large counters keep their value', (t) => {
  const frame = encodeResponse('wg_show', {
    id: 1,
    more: false,
    body: { devices: [{ name: 'x', peers: [{ rx_bytes: 2 ** 52 }] }] },
  });
  const answer = decodeResponse(body(frame))!.body as { devices: { peers: { rx_bytes: number }[] }[] };
  t.is(answer.devices[0]!.peers[0]!.rx_bytes, 2 ** 52);
});

test('framing ignores chunk borders', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 9 })), (dsts, cuts) => {
      const frames = dsts.map((dst, id) => encodeRequest({ id, verb: 'route_get', args: { dst } }));
      const octets = Buffer.concat(frames);
      const reader = new FrameReader();
      const got: string[] = [];
      let at = 0;
      for (let i = 0; at < octets.length; i++) {
        const n = cuts.length === 0 ? octets.length : cuts[i % cuts.length]!;
        for (const b of reader.push(octets.subarray(at, at + n))!) {
          const r = decodeRequest(b)!;
          if (r.verb === 'route_get') got.push(r.args.dst);
        }
        at += n;
      }
      t.deepEqual(got, dsts);
    }),
    { seed: 8480 },
  );
});

test('any octets are decoded or refused, never thrown over', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
        decodeRequest(octets);
        decodeResponse(octets);
        return true;
      }),
      { seed: 8481 },
    ),
  );
});

test('a frame above the limit is refused before it is read', (t) => {
  t.is(new FrameReader().push(Uint8Array.of(0xff, 0xff, 0xff, 0xff)), undefined);
});
