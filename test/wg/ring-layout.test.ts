import { readFileSync } from 'node:fs';
import test from 'ava';
import { GsoType, RecordFlag } from '../../router/lib/link.ts';
import * as layout from '../../wg/ring-layout.ts';

/** Constants of a Go source file: name = number, with the forms ring.go uses. */
function goConstants(path: string): Map<string, number> {
  const out = new Map<string, number>();
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const m = /^\t(\w+)\s*=\s*(0x[0-9a-f]+|\d+)(?: << (\d+))?\s*(?:\/\/.*)?$/.exec(line);
    if (m !== null) out.set(m[1]!, Number(m[2]) * 2 ** Number(m[3] ?? 0));
  }
  return out;
}

test('the ring layout is the same on both sides', (t) => {
  // Tests run from the package's root.
  const go = goConstants('wg/child/ring.go');
  const same = (name: string, value: number): void => {
    t.is(go.get(name), value, name);
  };
  same('regionMagic', layout.RING_MAGIC);
  same('layoutVersion', layout.RING_VERSION);
  same('headerBytes', layout.HEADER_BYTES);
  same('ringBytes', layout.RING_BYTES);
  same('minRingBytes', layout.MIN_RING_BYTES);
  same('maxRingBytes', layout.MAX_RING_BYTES);
  same('deviceBytes', layout.DEVICE_BYTES);
  same('recordAlign', layout.RECORD_ALIGN);
  same('recordHeader', layout.RECORD_HEADER);
  same('maxPacket', layout.MAX_PACKET);
  same('wrapLen', layout.WRAP_LENGTH);
  for (const [name, value] of Object.entries(layout.HeaderOffset))
    same(name === 'Panics' ? 'offPanics' : `off${name}`, value);
  for (const [name, value] of Object.entries(layout.RecordOffset)) same(`rec${name}`, value);
  for (const [name, value] of Object.entries(RecordFlag)) same(`flag${name}`, value);
  same('gsoNone', GsoType.None);
  same('gsoTCPv4', GsoType.TcpV4);
  same('gsoTCPv6', GsoType.TcpV6);
  same('gsoUDPL4', GsoType.UdpL4);
  t.is(layout.MAX_DEVICES, 896);
});
