/**
 * Ways out as the programs know them: numbered records (struct mls_way), one per uplink that groups name and per device of a
 * VRF. A record in use is never rewritten: an uplink that changes gets another number, and the old one is free once no policy
 * names it.
 */
import type { Addr } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { IS_LITTLE } from './kernel-maps.ts';
import { DEVICE_ROOM, networkWord, RESOLVERS, WAYS, Way, WayFlag } from './layout.ts';

/** What sockets are bound to. */
export interface WaySpec {
  readonly name: string;
  /** Undefined = they are bound by source address alone. */
  readonly device: string | undefined;
  /** Of the device at present, 0 = there is none. */
  readonly ifindex: number;
  readonly source4: Addr | undefined;
  readonly source6: Addr | undefined;
  readonly isVrf: boolean;
  /** Resolvers that are reached through it, at most RESOLVERS of each family. */
  readonly dns: readonly Addr[];
}

export function encodeWay(spec: WaySpec): Uint8Array {
  const octets = new Uint8Array(Way.Size);
  const view = new DataView(octets.buffer);
  const device = Buffer.from(spec.device ?? '');
  if (device.length >= DEVICE_ROOM)
    throw new MlshimError('INTERNAL', `${spec.device} is no name of a device: more than ${DEVICE_ROOM - 1} octets`);
  octets.set(device, Way.Device);
  const put = (at: number, word: number): void => view.setInt32(at, word, IS_LITTLE);
  const put6 = (at: number, a: Addr): void => {
    for (const [i, word] of [a.a0, a.a1, a.a2, a.a3].entries()) put(at + 4 * i, networkWord(word));
  };
  put(Way.Flags, (spec.device === undefined ? 0 : WayFlag.Device) | (spec.isVrf ? WayFlag.Vrf : 0));
  put(Way.Ifindex, spec.ifindex);
  if (spec.source4 !== undefined) put(Way.Source4, networkWord(spec.source4.a3));
  if (spec.source6 !== undefined) put6(Way.Source6, spec.source6);
  const v4 = spec.dns.filter((a) => a.family === 4).slice(0, RESOLVERS);
  const v6 = spec.dns.filter((a) => a.family === 6).slice(0, RESOLVERS);
  put(Way.Resolvers4, v4.length);
  put(Way.Resolvers6, v6.length);
  for (const [i, a] of v4.entries()) put(Way.Dns4 + 4 * i, networkWord(a.a3));
  for (const [i, a] of v6.entries()) put6(Way.Dns6 + 16 * i, a);
  return octets;
}

/** Which number which record has. */
export class WayNumbers {
  /** By number: name and octets of the record; undefined = free. */
  readonly #taken: (string | undefined)[] = Array.from({ length: WAYS }, () => undefined);
  readonly #names: (string | undefined)[] = Array.from({ length: WAYS }, () => undefined);
  /** Numbers are given out in turn, so that one that became free is not another uplink's at once. */
  #next = 0;

  /** Found in use by an earlier process; free once a policy of this one is active. */
  adopt(way: number): void {
    this.#taken[way] = 'adopted';
  }

  /** @returns the number, and whether its record has to be written first */
  of(name: string, record: Uint8Array): { readonly way: number; readonly isNew: boolean } {
    const key = `${name} ${Buffer.from(record).toString('hex')}`;
    const known = this.#taken.indexOf(key);
    if (known >= 0) return { way: known, isNew: false };
    for (let i = 0; i < WAYS; i++) {
      const way = (this.#next + i) % WAYS;
      if (this.#taken[way] !== undefined) continue;
      this.#next = way + 1;
      this.#taken[way] = key;
      this.#names[way] = name;
      return { way, isNew: true };
    }
    throw new MlshimError('POLICY_TOO_LARGE', `groups and VRFs of rules name more than ${WAYS} uplinks`);
  }

  /** Free every number that is not among these. @returns those that became free, with the names they had */
  keepOnly(ways: ReadonlySet<number>): { readonly way: number; readonly name: string | undefined }[] {
    const freed: { way: number; name: string | undefined }[] = [];
    for (const [way, key] of this.#taken.entries()) {
      if (key === undefined || ways.has(way)) continue;
      freed.push({ way, name: this.#names[way] });
      this.#taken[way] = undefined;
      this.#names[way] = undefined;
    }
    return freed;
  }
}
