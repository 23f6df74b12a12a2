/** The FPM server under damaged streams: whatever comes, its table and what it has put into the FIB agree, and all of it goes in the end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FpmType, fpmFrame } from '../../router/fpm/frame.ts';
import { FpmSession } from '../../router/fpm/session.ts';
import { FpmTable } from '../../router/fpm/table.ts';
import type { Instant } from '../../router/lib/clock.ts';
import { hex } from '../bgp/kit/describe.ts';

const STREAM = new Uint8Array(readFileSync(join(process.cwd(), 'test/golden/fpm/frr-8.4.4-dplane_fpm_nl-stream.bin')));
/** A route to 172.20.0.0/14 by 10.8.0.2 on interface 3, and its withdrawal. */
const KEY = '08001001180122090a07080e1203ac1400';
const PROTOBUF = [`08011226${KEY}2801300740144a0d120208031a070a050d0200080a`, `08021a11${KEY}`].map(hex);

export const FPM_SEEDS: readonly Uint8Array[] = [
  STREAM,
  ...PROTOBUF.map((payload) => fpmFrame(FpmType.Protobuf, payload)!),
];

/** @throws when the table and the FIB disagree */
export function fpmStream(octets: Uint8Array): void {
  const fib = new Set<string>();
  const table = new FpmTable({
    apply: (changes) => {
      for (const { vrf, prefix, nextHops } of changes) {
        if (nextHops === undefined) fib.delete(`${vrf} ${prefix}`);
        else fib.add(`${vrf} ${prefix}`);
      }
    },
    resolve: ({ gateway, ifindex, weight }, vrf) => (ifindex === 3 ? [{ link: 3 + vrf, gateway, weight }] : []),
    vrfOf: (number) => (number === 254 ? 0 : number < 10 ? number : undefined),
    holdMs: 10,
    staleMs: 10,
  });
  const finish = (at: number): void => {
    do table.tick(at as Instant);
    while (table.deadline() === 0);
    const { installed, unresolved, stale, nextHops } = table.stats;
    if (installed !== fib.size) throw new Error(`${installed} routes are called installed, ${fib.size} are`);
    if (unresolved < 0 || stale < 0 || nextHops < 0) throw new Error('a counter fell below zero');
  };
  // Once whole, once in two sessions: the second begins where the first was cut.
  for (const cut of [octets.length, octets.length >> 1]) {
    table.sessionBegan(cut as Instant);
    new FpmSession(table, true).receive(octets.subarray(0, cut));
    finish(cut);
    table.sessionBegan(cut as Instant);
    new FpmSession(table, false).receive(octets.subarray(cut));
    finish(cut);
  }
  table.sessionEnded(octets.length as Instant);
  finish(octets.length + 1000);
  if (fib.size !== 0) throw new Error(`${fib.size} routes outlived their client`);
}
