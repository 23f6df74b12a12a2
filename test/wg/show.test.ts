import test from 'ava';
import { bytesText, durationText, showText, type WgInput } from '../../wg/show.ts';

const DEVICES: WgInput[] = [
  {
    name: 'dn42',
    public_key: 'PUB',
    listen_port: 51820,
    fwmark: 0xca6c,
    peers: [
      {
        public_key: 'NEVER',
        has_preshared_key: false,
        endpoint: '',
        allowed_ips: [],
        rx_bytes: 0,
        tx_bytes: 0,
        keepalive_s: 0,
      },
      {
        public_key: 'OLD',
        has_preshared_key: true,
        endpoint: '192.0.2.1:51820',
        allowed_ips: ['10.0.0.0/8', 'fd00::/8'],
        handshake_age_s: 3725.9,
        rx_bytes: 1536,
        tx_bytes: 100,
        keepalive_s: 25,
      },
      {
        public_key: 'NEW',
        has_preshared_key: false,
        endpoint: '[2001:db8::1]:7',
        allowed_ips: ['::/0'],
        handshake_age_s: 0.4,
        rx_bytes: 0,
        tx_bytes: 148,
        keepalive_s: 0,
      },
    ],
  },
  { name: 'idle', public_key: 'PUB2', listen_port: 0, peers: [] },
];

test('the text is wg(8)’s', (t) => {
  t.is(
    showText(DEVICES),
    `interface: dn42
  public key: PUB
  private key: (hidden)
  listening port: 51820
  fwmark: 0xca6c

peer: NEW
  endpoint: [2001:db8::1]:7
  allowed ips: ::/0
  latest handshake: Now
  transfer: 0 B received, 148 B sent

peer: OLD
  preshared key: (hidden)
  endpoint: 192.0.2.1:51820
  allowed ips: 10.0.0.0/8, fd00::/8
  latest handshake: 1 hour, 2 minutes, 5 seconds ago
  transfer: 1.50 KiB received, 100 B sent
  persistent keepalive: every 25 seconds

peer: NEVER
  allowed ips: (none)

interface: idle
  public key: PUB2
  private key: (hidden)
`,
  );
});

test('durations and sizes use its units', (t) => {
  t.is(durationText(1), '1 second');
  t.is(durationText(366 * 86400 + 60), '1 year, 1 day, 1 minute');
  t.deepEqual([0, 1023, 1024, 2 ** 20, 2 ** 30, 3 * 2 ** 40].map(bytesText), [
    '0 B',
    '1023 B',
    '1.00 KiB',
    '1.00 MiB',
    '1.00 GiB',
    '3.00 TiB',
  ]);
});
