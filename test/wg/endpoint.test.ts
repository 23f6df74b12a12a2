import test from 'ava';
import {
  type EndpointState,
  newEndpoint,
  observeEndpoint,
  resolved,
  unresolved,
  wantsResolve,
} from '../../wg/endpoint.ts';
import type { WgPeerConfig } from '../../wg/model.ts';

const config = (host: string | undefined): WgPeerConfig => ({
  publicKey: new Uint8Array(32),
  presharedKey: undefined,
  endpoint: host === undefined ? undefined : { host, port: 7 },
  allowedIps: [],
  keepaliveS: 0,
});
/** What WireGuard says: where the peer is, when it answered last, and octets sent. */
const hears = (e: EndpointState, endpoint: string, latestHandshakeMs: number, sent = 0): void =>
  observeEndpoint(e, { endpoint, latestHandshakeMs }, sent);
const NOW = 1_700_000_000_000;

test('an address needs no resolver, a name asks at once', (t) => {
  t.is(newEndpoint(config('192.0.2.1')).chosen, '192.0.2.1:7');
  t.is(newEndpoint(config('fe80::1%eth0')).chosen, '[fe80::1%eth0]:7');
  t.false(wantsResolve(newEndpoint(config('192.0.2.1')), NOW));
  t.false(wantsResolve(newEndpoint(config(undefined)), NOW));
  t.true(wantsResolve(newEndpoint(config('x.example')), NOW));
});

test('a name that cannot be resolved is asked again with growing pauses', (t) => {
  const p = newEndpoint(config('x.example'));
  let now = NOW;
  const pauses: number[] = [];
  for (let i = 0; i < 9; i++) {
    unresolved(p, 'ENOTFOUND', now);
    const start = now;
    while (!wantsResolve(p, now)) now += 500;
    pauses.push((now - start) / 1000);
  }
  t.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  t.is(p.error, 'ENOTFOUND');
  t.is(resolved(p, ['192.0.2.1:7'], now), '192.0.2.1:7');
  t.is(p.error, undefined);
});

test('while a peer answers its name is asked every five minutes, and a listed address is kept', (t) => {
  const p = newEndpoint(config('x.example'));
  resolved(p, ['192.0.2.1:7', '192.0.2.2:7'], NOW);
  hears(p, '192.0.2.1:7', NOW + 299_000);
  t.false(wantsResolve(p, NOW + 299_000));
  t.true(wantsResolve(p, NOW + 300_000));
  t.is(resolved(p, ['192.0.2.2:7', '192.0.2.1:7'], NOW + 300_000), undefined);
  t.is(resolved(p, ['192.0.2.9:7'], NOW + 301_000), '192.0.2.9:7');
});

test('a silent peer is looked for at its other addresses in turn', (t) => {
  const p = newEndpoint(config('x.example'));
  const both = ['[2001:db8::1]:7', '192.0.2.1:7'];
  t.is(resolved(p, both, NOW), both[0]);
  t.false(wantsResolve(p, NOW + 14_000));
  t.true(wantsResolve(p, NOW + 20_000));
  t.is(resolved(p, both, NOW + 20_000), both[1]);
  hears(p, both[1]!, NOW + 21_000, 500);
  t.false(wantsResolve(p, NOW + 60_000));
  t.true(wantsResolve(p, NOW + 21_000 + 135_000));
  t.is(resolved(p, both, NOW + 21_000 + 135_000), both[0]);
});

test('a peer that moved by itself and answers is left where it is', (t) => {
  const p = newEndpoint(config('x.example'));
  resolved(p, ['192.0.2.1:7'], NOW);
  hears(p, '198.51.100.1:9', NOW + 1000);
  t.is(resolved(p, ['192.0.2.2:7'], NOW + 2000), undefined);
  t.is(resolved(p, ['192.0.2.2:7'], NOW + 200_000), '192.0.2.2:7');
});

test('a peer that nothing is sent to is not looked for sooner', (t) => {
  const p = newEndpoint(config('x.example'));
  resolved(p, ['192.0.2.1:7'], NOW);
  hears(p, '192.0.2.1:7', NOW + 1000, 500);
  t.is(resolved(p, ['192.0.2.1:7'], NOW + 300_000), undefined);
  t.false(wantsResolve(p, NOW + 320_000), 'its last handshake is old, and nothing was sent since the name was asked');
  hears(p, '192.0.2.1:7', NOW + 1000, 648);
  t.false(wantsResolve(p, NOW + 319_000), 'not more often than every 20 s');
  t.true(wantsResolve(p, NOW + 320_000));
});
