import { execFileSync, spawnSync } from 'node:child_process';
import test from 'ava';
import { pcapngHeader, pcapngPackets } from '../../../router/app/pcapng.ts';

/** An ICMPv4 echo request from 192.0.2.1 to 192.0.2.2 without payload. */
const ECHO = Buffer.from('4500001c000000004001f6dbc0000201c00002020800f7ff00000000', 'hex');

const stream = Buffer.concat([
  pcapngHeader(['dn42', 'home'], 96, 'mlshim test'),
  pcapngPackets([
    { interface: 1, timeUs: 1_700_000_000_123_456, out: true, length: 28, bytes: ECHO },
    { interface: 0, timeUs: 1_700_000_001_000_000, out: false, length: 1420, bytes: ECHO.subarray(0, 27) },
  ]),
]);

test('every block says its length twice and is padded to 32 bits', (t) => {
  const types: number[] = [];
  for (let at = 0; at < stream.length; ) {
    const length = stream.readUInt32LE(at + 4);
    t.is(length % 4, 0);
    t.is(stream.readUInt32LE(at + length - 4), length);
    types.push(stream.readUInt32LE(at));
    at += length;
  }
  t.deepEqual(types, [0x0a0d0d0a, 1, 1, 6, 6]);
});

test('a packet carries its time in microseconds, its lengths and its direction', (t) => {
  const at = stream.indexOf(ECHO) - 28 - 16;
  t.is(stream.readUInt32LE(at + 8), 1);
  t.is(stream.readUInt32LE(at + 12) * 2 ** 32 + stream.readUInt32LE(at + 16), 1_700_000_000_123_456);
  t.is(stream.readUInt32LE(at + 20), 28 + 16);
  t.is(stream.readUInt32LE(at + 28 + 16 + 28 + 4), 2);
});

const hasTcpdump = spawnSync('tcpdump', ['--version']).error === undefined;
(hasTcpdump ? test : test.skip)('tcpdump reads it (needs tcpdump)', (t) => {
  const text = execFileSync('tcpdump', ['-nr', '-'], {
    input: stream,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  t.regex(text, /192\.0\.2\.1 > 192\.0\.2\.2: ICMP echo request/);
});
