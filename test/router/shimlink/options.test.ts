import test from 'ava';
import fc from 'fast-check';
import { OPTIONS, optionKey } from '../../../router/shimlink/option-table.ts';
import { OptionStore } from '../../../router/shimlink/options.ts';
import { AF_INET, AF_INET6, E, getHost32, Opt, putHost32 } from '../../../router/shimlink/proto.ts';

const SOL_SOCKET = 1;
const IP = 0;
const TCP = 6;
const UDP = 17;
const IPV6 = 41;

const u8 = new Uint8Array(4096);

function set(o: OptionStore, level: number, name: number, value: number | Uint8Array): number {
  if (typeof value !== 'number') {
    u8.set(value);
    return o.set(level, name, u8, 0, value.length);
  }
  putHost32(u8, 0, value);
  return o.set(level, name, u8, 0, 4);
}

function get(o: OptionStore, level: number, name: number): number {
  const n = o.get(level, name, u8, 100, 4);
  return n < 0 ? n : getHost32(u8, 100);
}

function bytes(o: OptionStore, level: number, name: number, room: number): Uint8Array | number {
  const n = o.get(level, name, u8, 100, room);
  return n < 0 ? n : u8.slice(100, 100 + n);
}

test('defaults are what Linux answers for a fresh socket', (t) => {
  const tcp = new OptionStore(AF_INET, true);
  t.is(get(tcp, TCP, 4), 7200);
  t.is(get(tcp, TCP, 5), 75);
  t.is(get(tcp, TCP, 6), 9);
  t.is(get(tcp, TCP, 1), 0);
  t.is(get(tcp, IP, 2), 64);
  t.is(get(tcp, SOL_SOCKET, 18), 1);
  t.is(Buffer.from(bytes(tcp, TCP, 13, 64) as Uint8Array).toString(), 'cubic'.padEnd(16, '\0'));
  t.deepEqual(bytes(tcp, SOL_SOCKET, 13, 8), new Uint8Array(8));
  const v6 = new OptionStore(AF_INET6, false);
  t.is(get(v6, IPV6, 16), 64);
  t.is(get(v6, IPV6, 26), 0);
});

test('flags are normalized, buffers doubled and bounded', (t) => {
  const o = new OptionStore(AF_INET, true);
  t.is(set(o, SOL_SOCKET, 2, 77), 0);
  t.is(get(o, SOL_SOCKET, 2), 1);
  t.is(set(o, SOL_SOCKET, 8, 10000), 0);
  t.is(get(o, SOL_SOCKET, 8), 20000);
  set(o, SOL_SOCKET, 7, 1);
  t.is(get(o, SOL_SOCKET, 7), 4608);
  set(o, SOL_SOCKET, 7, 1 << 30);
  t.is(get(o, SOL_SOCKET, 7), 425984);
  set(o, SOL_SOCKET, 18, 0);
  t.is(get(o, SOL_SOCKET, 18), 1);
});

test('values out of range have the errno Linux gives', (t) => {
  const o = new OptionStore(AF_INET, true);
  t.is(set(o, TCP, 4, 0), E.EINVAL);
  t.is(set(o, TCP, 4, 32768), E.EINVAL);
  t.is(set(o, TCP, 2, 87), E.EINVAL);
  t.is(set(o, TCP, 2, 0), 0);
  t.is(set(o, IP, 2, 0), E.EINVAL);
  t.is(set(o, IP, 2, 256), E.EINVAL);
  t.is(set(o, IP, 2, -1), 0);
  t.is(get(o, IP, 2), 64);
  t.is(set(o, SOL_SOCKET, 12, 7), E.EPERM);
  const badTime = new Uint8Array(16);
  putHost32(badTime, 8, 1000000);
  t.is(set(o, SOL_SOCKET, 20, badTime), E.EDOM);
  t.is(set(o, TCP, 13, Buffer.from('vegas')), E.ENOENT);
  t.is(set(o, TCP, 13, Buffer.from('reno')), 0);
});

test('short values are EINVAL, but IP options take one octet', (t) => {
  const o = new OptionStore(AF_INET, true);
  t.is(set(o, SOL_SOCKET, 2, new Uint8Array(3)), E.EINVAL);
  t.is(set(o, TCP, 1, new Uint8Array(1)), E.EINVAL);
  t.is(set(o, IP, 1, Uint8Array.of(0x10)), 0);
  t.deepEqual(bytes(o, IP, 1, 1), Uint8Array.of(0x10));
  t.is(get(o, IP, 1), 0x10);
});

test("a stream's ToS keeps its hands off the ECN bits", (t) => {
  const tcp = new OptionStore(AF_INET, true);
  set(tcp, IP, 1, 0xff);
  t.is(get(tcp, IP, 1), 0xfc);
  const udp = new OptionStore(AF_INET, false);
  set(udp, IP, 1, 0xff);
  t.is(get(udp, IP, 1), 0xff);
});

test('options of another family, protocol or kernel are refused', (t) => {
  const tcp = new OptionStore(AF_INET, true);
  const udp = new OptionStore(AF_INET, false);
  t.is(set(tcp, IPV6, 26, 1), E.ENOPROTOOPT);
  t.is(set(udp, TCP, 1, 1), E.ENOPROTOOPT);
  t.is(set(tcp, UDP, 103, 1), E.ENOPROTOOPT);
  t.is(get(tcp, 999, 1), -E.ENOPROTOOPT);
  t.is(get(tcp, 0x10001, 2), -E.ENOPROTOOPT);
  t.is(set(tcp, TCP, 14, 1), E.ENOPROTOOPT, 'TCP_MD5SIG is no stored value: the socket takes it');
  t.is(set(tcp, SOL_SOCKET, 60, 1), E.EOPNOTSUPP, 'SO_ZEROCOPY promises completions');
  t.is(set(tcp, SOL_SOCKET, 3, 1), E.ENOPROTOOPT, 'SO_TYPE is read-only');
  t.is(set(tcp, IP, 35, new Uint8Array(8)), E.EPROTO, 'IP_ADD_MEMBERSHIP on a stream');
});

test('an answer never exceeds the room, and a clone keeps the values', (t) => {
  const o = new OptionStore(AF_INET, true);
  set(o, TCP, 1, 1);
  const c = o.clone();
  set(o, TCP, 1, 0);
  t.is(get(c, TCP, 1), 1);
  t.is((bytes(o, SOL_SOCKET, 13, 3) as Uint8Array).length, 3);
  t.is((bytes(o, TCP, 4, 2) as Uint8Array).length, 2);
  t.is(bytes(o, TCP, 4, -1), -E.EINVAL);
});

test('the replay of a socket holds what was set, as the kernel wants to be given it', (t) => {
  const o = new OptionStore(AF_INET, true);
  set(o, SOL_SOCKET, 8, 10000);
  set(o, TCP, 1, 1);
  const n = o.replay(u8, 1000, 1000);
  t.is(n, 2 * Opt.Size);
  t.is(getHost32(u8, 1000 + Opt.Name), 8);
  t.is(getHost32(u8, 1000 + Opt.Value), 10000);
  t.is(getHost32(u8, 1000 + Opt.Size + Opt.Level), TCP);
});

test('no option, value or length makes the store throw or answer beyond the room', (t) => {
  const keys = [...OPTIONS.keys()];
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.constantFrom(...keys),
        fc.uint8Array({ maxLength: 300 }),
        fc.integer({ min: 0, max: 300 }),
        fc.boolean(),
        fc.boolean(),
        (key, value, room, isV6, isStream) => {
          const o = new OptionStore(isV6 ? AF_INET6 : AF_INET, isStream);
          const level = key >> 16;
          const name = key & 0xffff;
          u8.set(value);
          const failed = o.set(level, name, u8, 0, value.length);
          const n = o.get(level, name, u8, 1000, room);
          return failed >= 0 && n <= room && optionKey(level, name) === key;
        },
      ),
    ),
  );
});
