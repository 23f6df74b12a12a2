import test from 'ava';
import type { WgPeerConfig } from '../../wg/model.ts';
import { childEnded, newPeer, observe } from '../../wg/peer-state.ts';
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

test('counters add up over the lives of children and survive a new endpoint', (t) => {
  const p = newPeer(config('192.0.2.1'), undefined);
  observe(p, seen({ rxBytes: 10, txBytes: 20, endpoint: '192.0.2.1:7', latestHandshakeMs: NOW }), 0);
  childEnded(p);
  observe(p, seen({ rxBytes: 1, txBytes: 2 }), 0);
  const q = newPeer(config('192.0.2.2'), p);
  t.deepEqual([q.baseRx + q.lastRx, q.baseTx + q.lastTx], [11, 22]);
  t.is(q.lastHandshakeMs, NOW);
  t.is(q.lastEndpoint, undefined);
  t.is(p.lastEndpoint, '192.0.2.1:7', 'a restart needs it');
});
