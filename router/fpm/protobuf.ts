/**
 * The protobuf encoding of FPM (fpm.proto) to messages. The second door of protobufjs; does no I/O.
 */
import protobuf from 'protobufjs/light.js';
import { Addr, type Family, Prefix } from '../lib/addr.ts';
import { DESCRIPTOR } from './descriptor.ts';
import { type Decoded, type FpmHop, type FpmMessage, type FpmRouteType, MAIN_TABLE } from './message.ts';

const root = protobuf.Root.fromJSON(DESCRIPTOR as protobuf.INamespace);
const messageType = root.lookupType('fpm.Message');

/** The fields we read, as protobufjs gives them: absent messages are null, absent scalars their defaults. */
interface Wire {
  readonly type: number;
  readonly add_route: WireRoute | null;
  readonly delete_route: WireRoute | null;
}

interface WireRoute {
  readonly vrf_id: number;
  readonly address_family: number;
  readonly sub_address_family: number;
  readonly key: { readonly prefix: { readonly length: number; readonly bytes: Uint8Array } | null };
  readonly route_type: number;
  readonly protocol: number;
  readonly metric: number;
  readonly nexthops: readonly WireHop[];
}

interface WireHop {
  readonly if_id: { readonly index: number } | null;
  readonly address: {
    readonly v4: { readonly value: number } | null;
    readonly v6: { readonly bytes: Uint8Array } | null;
  } | null;
}

const MessageType = { AddRoute: 1, DeleteRoute: 2 } as const;
const FAMILIES: Readonly<Record<number, Family>> = { 1: 4, 2: 6 };
const UNICAST = 1;
const ROUTE_TYPES: Readonly<Record<number, FpmRouteType>> = {
  0: 'unicast',
  1: 'unicast',
  2: 'unreachable',
  3: 'blackhole',
};
const PROTOCOLS: readonly string[] = [
  'other',
  'kernel',
  'kernel',
  'kernel',
  'static',
  'rip',
  'ripng',
  'ospf',
  'isis',
  'bgp',
  'other',
];

/** The one message of a frame. Never throws, whatever the octets are. */
export function decodeProtobuf(payload: Uint8Array): Decoded {
  let wire: Wire;
  try {
    wire = messageType.decode(payload) as unknown as Wire;
  } catch {
    return { messages: [], unknown: 0, malformed: 1 };
  }
  const message = messageOf(wire);
  if (message === undefined) return { messages: [], unknown: 0, malformed: 1 };
  if (message === 'unknown') return { messages: [], unknown: 1, malformed: 0 };
  return { messages: [message], unknown: 0, malformed: 0 };
}

function messageOf(wire: Wire): FpmMessage | 'unknown' | undefined {
  const isNew = wire.type === MessageType.AddRoute;
  if (!isNew && wire.type !== MessageType.DeleteRoute) return 'unknown';
  const route = isNew ? wire.add_route : wire.delete_route;
  if (route === null) return undefined;
  const family = FAMILIES[route.address_family];
  if (family === undefined || route.sub_address_family !== UNICAST) return 'unknown';
  const prefix = prefixOf(route, family);
  if (prefix === undefined) return undefined;
  const table = route.vrf_id === 0 ? MAIN_TABLE : route.vrf_id;
  if (!isNew) return { kind: 'withdrawal', table, prefix };
  const type = ROUTE_TYPES[route.route_type];
  if (type === undefined) return 'unknown';
  const hops = type === 'unicast' ? route.nexthops.map(hopOf) : [];
  if (!hops.every((h) => h !== undefined)) return undefined;
  const protocol = PROTOCOLS[route.protocol] ?? 'other';
  return { kind: 'route', table, prefix, protocol, type, metric: route.metric >>> 0, hops };
}

/** The octets that the length does not need are left out. */
function prefixOf(route: WireRoute, family: Family): Prefix | undefined {
  const wire = route.key.prefix;
  const full = new Uint8Array(family === 4 ? 4 : 16);
  if (wire === null || wire.bytes.length > full.length || wire.bytes.length * 8 < wire.length) return undefined;
  full.set(wire.bytes);
  return Prefix.containing(Addr.fromBytes(full)!, wire.length);
}

function hopOf(wire: WireHop): FpmHop | undefined {
  const { address } = wire;
  const v6 = address?.v6 == null ? undefined : Addr.fromBytes(address.v6.bytes);
  if (address?.v6 != null && v6?.family !== 6) return undefined;
  const gateway = address?.v4 == null ? v6 : Addr.v4(address.v4.value);
  return { gateway, ifindex: wire.if_id?.index || undefined, weight: 1 };
}
