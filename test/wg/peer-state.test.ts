import test from 'ava';
import type { WgPeerConfig } from '../../wg/model.ts';
import { childEnded, newPeer, observe, resolved, unresolved, wantsResolve } from '../../wg/peer-state.ts';
import type { UapiPeer } from '../../wg/uapi.ts';

const config = (host: string | undefined): WgPeerConfig => ({
  publicKey: new Uint8Array(32),
  presharedKey: undefined,
  endpoint: host === undefined ? undefined : { host, port: 7 },
  allowedIps: [],
  keepaliveS: 0,
});
const seen = (more: Partial<UapiPeer>): UapiPeer => ({
  publicKey: new Uint8Array(32),
  hasPresharedKey: false,
  endpoint: undefined,
  latestHandshakeMs: 0,
  rxBytes: 0,
  txBytes: 0,
  keepaliveS: 0,
  allowedIps: [],
  ...more,
});
const NOW = 1_700_000_000_000;

test('an address needs no resolver, a name asks at once', (t) => {
  t.is(newPeer(config('192.0.2.1'), undefined).chosen, '192.0.2.1:7');
  t.is(newPeer(config('fe80::1%eth0'), undefined).chosen, '[fe80::1%eth0]:7');
  t.false(wantsResolve(newPeer(config('192.0.2.1'), undefined), NOW));
  t.false(wantsResolve(newPeer(config(undefined), undefined), NOW));
  t.true(wantsResolve(newPeer(config('x.example'), undefined), NOW));
});

test('a name that cannot be resolved is asked again with growing pauses', (t) => {
  const p = newPeer(config('x.example'), undefined);
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
  const p = newPeer(config('x.example'), undefined);
  resolved(p, ['192.0.2.1:7', '192.0.2.2:7'], NOW);
  observe(p, seen({ endpoint: '192.0.2.1:7', latestHandshakeMs: NOW + 299_000 }));
  t.false(wantsResolve(p, NOW + 299_000));
  t.true(wantsResolve(p, NOW + 300_000));
  t.is(resolved(p, ['192.0.2.2:7', '192.0.2.1:7'], NOW + 300_000), undefined);
  t.is(resolved(p, ['192.0.2.9:7'], NOW + 301_000), '192.0.2.9:7');
});

test('a silent peer is looked for at its other addresses in turn', (t) => {
  const p = newPeer(config('x.example'), undefined);
  const both = ['[2001:db8::1]:7', '192.0.2.1:7'];
  t.is(resolved(p, both, NOW), both[0]);
  t.false(wantsResolve(p, NOW + 14_000));
  t.true(wantsResolve(p, NOW + 20_000));
  t.is(resolved(p, both, NOW + 20_000), both[1]);
  observe(p, seen({ endpoint: both[1]!, latestHandshakeMs: NOW + 21_000 }));
  t.false(wantsResolve(p, NOW + 60_000));
  t.true(wantsResolve(p, NOW + 21_000 + 135_000));
  t.is(resolved(p, both, NOW + 21_000 + 135_000), both[0]);
});

test('a peer that moved by itself and answers is left where it is', (t) => {
  const p = newPeer(config('x.example'), undefined);
  resolved(p, ['192.0.2.1:7'], NOW);
  observe(p, seen({ endpoint: '198.51.100.1:9', latestHandshakeMs: NOW + 1000 }));
  t.is(resolved(p, ['192.0.2.2:7'], NOW + 2000), undefined);
  t.is(resolved(p, ['192.0.2.2:7'], NOW + 200_000), '192.0.2.2:7');
});

test('counters add up over the lives of children and survive a new endpoint', (t) => {
  const p = newPeer(config('192.0.2.1'), undefined);
  observe(p, seen({ rxBytes: 10, txBytes: 20, endpoint: '192.0.2.1:7', latestHandshakeMs: NOW }));
  childEnded(p);
  observe(p, seen({ rxBytes: 1, txBytes: 2 }));
  const q = newPeer(config('192.0.2.2'), p);
  t.deepEqual([q.baseRx + q.lastRx, q.baseTx + q.lastTx], [11, 22]);
  t.is(q.lastHandshakeMs, NOW);
  t.is(q.lastEndpoint, undefined);
  t.is(p.lastEndpoint, '192.0.2.1:7', 'a restart needs it');
});
