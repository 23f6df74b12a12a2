import test from 'ava';
import { Prefix } from '../../router/lib/addr.ts';
import { ControlChannel } from '../../wg/control.ts';
import { keyToHex } from '../../wg/keys.ts';
import type { WgDeviceConfig, WgPeerConfig } from '../../wg/model.ts';
import { encodeAnew, encodeKeepaliveOff, encodeSet, parseGet } from '../../wg/uapi.ts';

const key = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const hex = (n: number): string => keyToHex(key(n));
const peer = (n: number, more: Partial<WgPeerConfig> = {}): WgPeerConfig => ({
  publicKey: key(n),
  presharedKey: undefined,
  endpoint: undefined,
  allowedIps: [Prefix.parse('10.0.0.0/8')!],
  keepaliveS: 0,
  ...more,
});
const config = (...peers: WgPeerConfig[]): WgDeviceConfig => ({ privateKey: key(1), listenPort: 7, peers });
const none = { listenPort: 7, endpointOf: (): undefined => undefined };

test('a new device is described in full, eagerly', (t) => {
  const text = encodeSet(
    config(peer(2), peer(3, { keepaliveS: 25, presharedKey: key(9) }), peer(4, { allowedIps: [] })),
    {
      previous: undefined,
      listenPort: 99,
      endpointOf: (p) => (p.publicKey[0] === 4 ? undefined : '192.0.2.1:5'),
      eagerKeepaliveS: 1,
    },
  );
  t.deepEqual(text.split('\n'), [
    `private_key=${hex(1)}`,
    'listen_port=99',
    `public_key=${hex(2)}`,
    'endpoint=192.0.2.1:5',
    'persistent_keepalive_interval=1',
    'replace_allowed_ips=true',
    'allowed_ip=10.0.0.0/8',
    `public_key=${hex(3)}`,
    `preshared_key=${hex(9)}`,
    'endpoint=192.0.2.1:5',
    'persistent_keepalive_interval=25',
    'replace_allowed_ips=true',
    'allowed_ip=10.0.0.0/8',
    `public_key=${hex(4)}`,
    'replace_allowed_ips=true',
    '',
  ]);
});

test('a change names only what changed, so that sessions go on', (t) => {
  const before = config(peer(2), peer(3), peer(4, { presharedKey: key(9) }));
  t.is(encodeSet(before, { ...none, previous: before }), '');
  const after = config(peer(2), peer(4, { keepaliveS: 5 }));
  t.is(
    encodeSet(after, { ...none, previous: before }),
    `public_key=${hex(3)}\nremove=true\npublic_key=${hex(4)}\npreshared_key=${'0'.repeat(64)}\npersistent_keepalive_interval=5\n`,
  );
});

test('a peer can be started anew without touching the others', (t) => {
  const c = config(peer(2), peer(3));
  t.is(
    encodeAnew(c, c.peers[1]!, '192.0.2.1:5', 1),
    `public_key=${hex(3)}\nremove=true\npublic_key=${hex(3)}\nendpoint=192.0.2.1:5\npersistent_keepalive_interval=1\n` +
      'replace_allowed_ips=true\nallowed_ip=10.0.0.0/8\n',
  );
  t.is(
    encodeKeepaliveOff(config(peer(2), peer(3, { keepaliveS: 5 }))),
    `public_key=${hex(2)}\nupdate_only=true\npersistent_keepalive_interval=0\n`,
  );
});

test('an answer to get is read, and its private key is not kept', (t) => {
  const d = parseGet([
    'sent=12',
    `private_key=${hex(1)}`,
    'listen_port=51820',
    'fwmark=5',
    `public_key=${hex(2)}`,
    `preshared_key=${hex(0)}`,
    'protocol_version=1',
    'endpoint=[fd00::1]:7',
    'last_handshake_time_sec=1700000000',
    'last_handshake_time_nsec=250000000',
    'tx_bytes=5',
    'rx_bytes=9007199254740991',
    'persistent_keepalive_interval=25',
    'allowed_ip=10.0.0.0/8',
    'allowed_ip=::/0',
    `public_key=${hex(3)}`,
    `preshared_key=${hex(8)}`,
  ]);
  t.is(d.listenPort, 51820);
  t.is(d.fwmark, 5);
  t.is(d.values.get('sent'), '12');
  t.false(JSON.stringify([...d.values]).includes(hex(1)));
  t.deepEqual(d.peers[0], {
    publicKey: key(2),
    hasPresharedKey: false,
    endpoint: '[fd00::1]:7',
    latestHandshakeMs: 1700000000250,
    rxBytes: 9007199254740991,
    txBytes: 5,
    keepaliveS: 25,
    allowedIps: ['10.0.0.0/8', '::/0'],
  });
  t.true(d.peers[1]!.hasPresharedKey);
});

test('answers come in order however the octets are cut, with notes between them', async (t) => {
  const stream =
    'event=ready\nlayout=1\n\nerrno=0\n\na=1\nevent=not one\nerrno=-98\n\nevent=heard\ndevice=3\n\nerrno=0\n\n';
  for (let size = 1; size < stream.length; size++) {
    const sent: string[] = [];
    const events: string[] = [];
    const c = new ControlChannel(
      (text) => sent.push(text),
      (kind, fields) => events.push(`${kind} ${[...fields].join()}`),
    );
    const replies = [c.request('device=0\nget=1\n'), c.request('x\n'), c.request('y\n'), c.request('z\n')];
    for (let at = 0; at < stream.length; at += size) t.true(c.received(stream.slice(at, at + size)));
    c.end();
    t.deepEqual(await Promise.all(replies), [
      { errno: 0, lines: [] },
      { errno: -98, lines: ['a=1', 'event=not one'] },
      { errno: 0, lines: [] },
      undefined,
    ]);
    t.is(await c.request('late\n'), undefined);
    t.deepEqual(events, ['ready layout,1', 'heard device,3']);
    t.deepEqual(sent, ['device=0\nget=1\n\n', 'x\n\n', 'y\n\n', 'z\n\n']);
  }
});
