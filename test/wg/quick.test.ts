import test from 'ava';
import fc from 'fast-check';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { formatKey, parseKey, publicKey } from '../../wg/keys.ts';
import { formatEndpoint, parseEndpoint, parseQuick, type QuickConfig } from '../../wg/quick.ts';

const KEY = formatKey(new Uint8Array(32).fill(7));
const KEY2 = formatKey(new Uint8Array(32).fill(9));

const FULL = `# a comment
[Interface]
PrivateKey = ${KEY}   # not shown
ListenPort=51820
FwMark = 0xca6c
Address = 10.0.0.2/24, fd00::2/64
address = 192.0.2.1
DNS = 10.0.0.1, fd00::1, corp.example
MTU = 1380
Table = off
PostUp = iptables -A FORWARD -i %i -j ACCEPT
SaveConfig = true

[peer]
# friendly_name = home
PublicKey = ${KEY2}
PresharedKey = ${KEY}
AllowedIPs = 0.0.0.0/0, ::/0
AllowedIPs = 10.9.9.9/16
Endpoint = vpn.example:51820
PersistentKeepalive = 25
`;

test('every key of a wg-quick file is read', (t) => {
  const { config, errors, warnings } = parseQuick(FULL);
  t.deepEqual(errors, []);
  t.deepEqual(
    warnings.map((w) => [w.line, w.column, w.message]),
    [
      [11, 1, 'PostUp is ignored: commands are never run'],
      [12, 1, 'SaveConfig is ignored: the file is never written'],
    ],
  );
  const c = config!;
  t.is(c.device.listenPort, 51820);
  t.is(c.device.fwmark, 0xca6c);
  t.is(c.mtu, 1380);
  t.is(c.table, 'off');
  t.deepEqual(
    c.addresses.map((a) => `${a.addr} ${a.prefix}`),
    ['10.0.0.2 10.0.0.0/24', 'fd00::2 fd00::/64', '192.0.2.1 192.0.2.1/32'],
  );
  t.deepEqual(c.dns.map(String), ['10.0.0.1', 'fd00::1']);
  t.deepEqual(c.dnsSearch, ['corp.example']);
  const p = c.device.peers[0]!;
  t.is(p.name, 'home');
  t.deepEqual(p.endpoint, { host: 'vpn.example', port: 51820 });
  t.deepEqual(p.allowedIps.map(String), ['0.0.0.0/0', '::/0', '10.9.0.0/16']);
  t.is(p.keepaliveS, 25);
  t.is(formatKey(p.presharedKey!), KEY);
});

test('all errors are found at once, each with its place', (t) => {
  const text = `MTU = 1
[Interface]
PrivatKey = ${KEY}
Address = 10.0.0.300/24, 10.0.0.1/33
ListenPort = 70000
nonsense
[Peer]
Endpoint = 2001:db8::1:51820
AllowedIPs = 10.0.0.0/8,,::/0
PersistentKeepalive = soon
[Pear]
Anything = 1
`;
  const { config, errors } = parseQuick(text);
  t.is(config, undefined);
  t.deepEqual(
    errors.map((e) => [e.line, e.column, e.length, e.message]),
    [
      [1, 1, 3, 'MTU stands before the first section'],
      [3, 1, 9, 'unknown key PrivatKey (did you mean PrivateKey?)'],
      [4, 11, 13, '"10.0.0.300/24" is not an address with a prefix length'],
      [4, 26, 11, '"10.0.0.1/33" is not an address with a prefix length'],
      [5, 14, 5, '"70000" is no port (0 to 65535)'],
      [6, 1, 8, 'expected "Key = Value"'],
      [8, 12, 17, '"2001:db8::1:51820" is not HOST:PORT (an IPv6 address stands in brackets)'],
      [9, 25, 1, 'an empty entry in a list'],
      [10, 23, 4, '"soon" is no interval (0 to 65535)'],
      [11, 1, 6, 'unknown section [Pear]: expected [Interface] or [Peer]'],
      [2, 1, 11, '[Interface] has no PrivateKey'],
      [7, 1, 6, '[Peer] has no PublicKey'],
    ],
  );
});

test('no message shows a key', (t) => {
  for (const text of [
    `[Interface]\nPrivateKey = ${KEY.slice(1)}\n`,
    `[Interface]\n${KEY}\n`,
    `[Interface]\n${KEY} = x\n`,
    `[Interface]\nPrivateKey = ${KEY}\n[Peer]\nPublicKey = ${KEY}x\n`,
  ]) {
    const { errors, warnings } = parseQuick(text);
    t.true(errors.length > 0);
    for (const p of [...errors, ...warnings]) t.false(p.message.includes(KEY.slice(4, 20)), p.message);
  }
});

test('a file without sections, an empty file and doubled peers are errors', (t) => {
  t.is(parseQuick('').errors[0]!.message, 'there is no [Interface] section');
  const own = `[Interface]\nPrivateKey=${KEY}\n[Peer]\nPublicKey=${formatKey(publicKey(parseKey(KEY)!))}\n`;
  t.like(parseQuick(own).errors[0], { line: 3, message: '[Peer] has our own PublicKey' });
  const twice = `[Interface]\nPrivateKey=${KEY}\n[Peer]\nPublicKey=${KEY2}\n[Peer]\nPublicKey=${KEY2}\n`;
  t.deepEqual(parseQuick(twice).errors[0], {
    line: 5,
    column: 1,
    length: 6,
    message: 'an earlier [Peer] has the same PublicKey',
  });
});

test('endpoints are host names, IPv4 addresses or bracketed IPv6 addresses', (t) => {
  t.deepEqual(parseEndpoint('[fe80::1%eth0]:1'), { host: 'fe80::1%eth0', port: 1 });
  t.deepEqual(parseEndpoint('192.0.2.1:65535'), { host: '192.0.2.1', port: 65535 });
  t.deepEqual(parseEndpoint('a-b.example:80'), { host: 'a-b.example', port: 80 });
  for (const bad of ['', 'x', 'x:0', 'x:65536', '1.2.3:4', '[1.2.3.4]:5', 'fe80::1:5', '-x:5', 'x y:5'])
    t.is(parseEndpoint(bad), undefined, bad);
});

test('what is written is read back', (t) => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const addr = fc.oneof(
    fc.integer().map((n) => Addr.v4(n)),
    fc.tuple(fc.integer({ min: 1 }), fc.integer()).map(([a, b]) => Addr.v6(a, b, 1, b)),
  );
  const prefix = fc.tuple(addr, fc.nat(32)).map(([a, n]) => Prefix.containing(a, n)!);
  const config: fc.Arbitrary<QuickConfig> = fc.record({
    device: fc.record({
      privateKey: key,
      listenPort: fc.nat(65535),
      fwmark: fc.nat(),
      peers: fc.uniqueArray(
        fc.record({
          name: fc.option(fc.constantFrom('a', 'b c'), { nil: undefined }),
          publicKey: key,
          presharedKey: fc.option(key, { nil: undefined }),
          endpoint: fc.option(
            fc.record({
              host: fc.constantFrom('x.example', '192.0.2.7', 'fd00::7'),
              port: fc.integer({ min: 1, max: 65535 }),
            }),
            { nil: undefined },
          ),
          allowedIps: fc.array(prefix, { maxLength: 4 }),
          keepaliveS: fc.nat(65535),
        }),
        { maxLength: 3, selector: (p) => formatKey(p.publicKey) },
      ),
    }),
    addresses: fc.array(
      fc.tuple(addr, fc.nat(32)).map(([a, n]) => ({ addr: a, prefix: Prefix.containing(a, n)! })),
      { maxLength: 3 },
    ),
    dns: fc.array(addr, { maxLength: 2 }),
    dnsSearch: fc.subarray(['corp', 'a.example']),
    mtu: fc.option(fc.integer({ min: 68, max: 65471 }), { nil: undefined }),
    table: fc.oneof(fc.constantFrom('auto' as const, 'off' as const), fc.integer({ min: 1, max: 0xffff })),
  });
  fc.assert(
    fc.property(config, (c) => {
      const { config: back, errors, warnings } = parseQuick(writeQuick(c));
      t.deepEqual([errors, warnings], [[], []]);
      t.deepEqual(back, c);
    }),
    { seed: 51820 },
  );
});

test('no text makes the parser throw', (t) => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom(...FULL.split('\n')))), (lines) => {
      const text = lines.join('\n');
      const { errors, warnings } = parseQuick(text);
      const all = text.split(/\r?\n/);
      for (const p of [...errors, ...warnings]) {
        t.true(p.line >= 1 && p.line <= Math.max(1, all.length) && p.column >= 1 && p.length >= 1);
      }
    }),
    { seed: 1 },
  );
});

/** The text of a wg-quick file that `parseQuick` reads back to the same value. */
function writeQuick(c: QuickConfig): string {
  const lines = ['[Interface]', `PrivateKey = ${formatKey(c.device.privateKey)}`];
  const add = (key: string, value: string | number | undefined): void => {
    if (value !== undefined && value !== '') lines.push(`${key} = ${value}`);
  };
  add('ListenPort', c.device.listenPort === 0 ? undefined : c.device.listenPort);
  const fwmark = c.device.fwmark ?? 0;
  add('FwMark', fwmark === 0 ? undefined : `0x${fwmark.toString(16)}`);
  add('Address', c.addresses.map((a) => `${a.addr}/${a.prefix.length}`).join(', '));
  add('DNS', [...c.dns.map(String), ...c.dnsSearch].join(', '));
  add('MTU', c.mtu);
  add('Table', c.table === 'auto' ? undefined : c.table);
  for (const p of c.device.peers) {
    lines.push('', '[Peer]');
    if (p.name !== undefined) lines.push(`# friendly_name = ${p.name}`);
    add('PublicKey', formatKey(p.publicKey));
    if (p.presharedKey !== undefined) add('PresharedKey', formatKey(p.presharedKey));
    add('AllowedIPs', p.allowedIps.join(', '));
    if (p.endpoint !== undefined) add('Endpoint', formatEndpoint(p.endpoint));
    add('PersistentKeepalive', p.keepaliveS === 0 ? undefined : p.keepaliveS);
  }
  return `${lines.join('\n')}\n`;
}
