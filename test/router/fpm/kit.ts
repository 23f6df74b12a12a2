/** Builders of FPM messages for tests: rtnetlink as a daemon would write it, the little that is needed of it. */
import { Addr } from '../../../router/lib/addr.ts';

export const NEWROUTE = 24;
export const DELROUTE = 25;
export const NEWNEXTHOP = 104;
export const DELNEXTHOP = 105;

const u16 = (n: number): number[] => [n & 255, (n >> 8) & 255];
export const u32 = (n: number): number[] => [...u16(n & 0xffff), ...u16(n >>> 16)];
const padded = (b: readonly number[]): number[] => [...b, ...new Array<number>((4 - (b.length % 4)) % 4).fill(0)];

export const attribute = (type: number, value: readonly number[]): number[] =>
  padded([...u16(4 + value.length), ...u16(type), ...value]);

export const address = (text: string): number[] => [...Addr.parse(text)!.toBytes()];

/** One netlink message. */
export function netlink(type: number, body: readonly number[]): number[] {
  return padded([...u32(16 + body.length), ...u16(type), ...u16(0x501), ...u32(0), ...u32(7), ...body]);
}

export interface RouteFields {
  readonly table?: number;
  readonly protocol?: number;
  readonly type?: number;
  readonly attributes?: readonly (readonly number[])[];
}

/** RTM_NEWROUTE or RTM_DELROUTE for ADDR/LENGTH. */
export function route(type: number, prefix: string, fields: RouteFields = {}): number[] {
  const [addr, length] = prefix.split('/') as [string, string];
  const dst = address(addr);
  const head = [dst.length === 4 ? 2 : 10, Number(length), 0, 0, fields.table ?? 254, fields.protocol ?? 188, 0];
  return netlink(type, [
    ...head,
    fields.type ?? 1,
    ...u32(0),
    ...attribute(1, dst),
    ...(fields.attributes ?? []).flat(),
  ]);
}

export const oif = (index: number): number[] => attribute(4, u32(index));
export const gateway = (text: string): number[] => attribute(5, address(text));

/** One member of RTA_MULTIPATH. */
export function member(index: number, weight: number, via: string): number[] {
  const attributes = gateway(via);
  return [...u16(8 + attributes.length), 0, weight - 1, ...u32(index), ...attributes];
}

export function nextHop(id: number, family: number, attributes: readonly (readonly number[])[]): number[] {
  return netlink(NEWNEXTHOP, [family, 0, 11, 0, ...u32(0), ...attribute(1, u32(id)), ...attributes.flat()]);
}

export function nextHopGone(id: number): number[] {
  return netlink(DELNEXTHOP, [0, 0, 0, 0, ...u32(0), ...attribute(1, u32(id))]);
}

export function group(id: number, members: readonly (readonly [number, number])[]): number[] {
  return nextHop(id, 0, [
    attribute(
      2,
      members.flatMap(([m, weight]) => [...u32(m), weight - 1, 0, 0, 0]),
    ),
  ]);
}

/** An FPM frame around netlink messages. */
export function frame(...messages: readonly (readonly number[])[]): Uint8Array {
  const payload = messages.flat();
  const length = 4 + payload.length;
  return Uint8Array.from([1, 1, length >> 8, length & 255, ...payload]);
}
