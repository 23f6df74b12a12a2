/** Whether a host can have these uplinks at all, found out before anything is changed. */
import { MlshimError } from '../lib/errors.ts';
import { LOCAL_TABLE, MAIN_TABLE } from '../wire/netlink.ts';
import type { HostAddress } from './netlink/address.ts';
import type { Link } from './netlink/link.ts';
import { bindDeviceOf, type HostUplink, interfaceOf, isInVrf, tunnelDevice, vrfDevice } from './uplink.ts';

/** The host as it is. */
export interface HostFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly HostAddress[];
  /** A device of ours, as our journal says. */
  readonly isOurs: (device: string) => boolean;
  /** An interface that was there when an uplink over it was set up; it may be gone for a while. */
  readonly wasThere: (device: string) => boolean;
  /** Who put routes into a table, when it was not us. */
  readonly tableUser: (table: number) => string | undefined;
}

const MAX_TABLE = 0xffffffff;
/** Unspecified, the one for compatibility, default, main, local. */
const RESERVED_TABLES: ReadonlySet<number> = new Set([0, 252, 253, MAIN_TABLE, LOCAL_TABLE]);

/** @throws MlshimError HOST_OVERLAP or HOST_MISSING, about the first problem */
export function checkUplinks(uplinks: readonly HostUplink[], host: HostFacts): void {
  const claims = new Map<string, string>();
  for (const u of uplinks) {
    for (const claim of claimsOf(u)) {
      const other = claims.get(claim);
      if (other !== undefined) throw overlap(u, `uplinks ${other} and ${u.name} both need ${claim}`);
      claims.set(claim, u.name);
    }
    checkTable(u, host);
    checkDevices(u, host);
    if (u.kind === 'source') checkSource(u, host, uplinks);
  }
  checkAddresses(uplinks, host);
}

/** What two uplinks cannot share. */
function claimsOf(u: HostUplink): string[] {
  const claims = [`table ${u.table}`];
  const device = interfaceOf(u);
  if (device !== undefined) claims.push(`interface ${device}`);
  if (isInVrf(u)) claims.push(`device ${vrfDevice(u.name)}`);
  if (u.kind === 'source') claims.push(`address ${u.source}`);
  if (u.kind === 'wireguard') claims.push(...u.addresses.map(({ addr }) => `address ${addr}`));
  return claims;
}

function checkTable(u: HostUplink, host: HostFacts): void {
  if (!Number.isInteger(u.table) || u.table < 0 || u.table > MAX_TABLE || RESERVED_TABLES.has(u.table))
    throw overlap(u, `uplink ${u.name} cannot have table ${u.table}: the host's own routes are there`);
  const vrf = host.links.find((l) => l.vrfTable === u.table && l.name !== vrfDevice(u.name));
  const user = vrf === undefined ? host.tableUser(u.table) : `VRF ${vrf.name}`;
  if (user !== undefined) throw overlap(u, `table ${u.table} of uplink ${u.name} is in use by ${user}`);
}

function checkDevices(u: HostUplink, host: HostFacts): void {
  const ours = [...(isInVrf(u) ? [vrfDevice(u.name)] : []), ...(u.kind === 'wireguard' ? [tunnelDevice(u.name)] : [])];
  for (const device of ours)
    if (host.links.some((l) => l.name === device) && !host.isOurs(device))
      throw overlap(u, `there is a device ${device} already, which this daemon did not make`);
  if (u.kind !== 'interface') return;
  const link = host.links.find((l) => l.name === u.interface);
  if (link === undefined) {
    if (host.wasThere(u.interface)) return;
    const known = host.links.map((l) => l.name).join(', ');
    throw new MlshimError('HOST_MISSING', `uplink ${u.name}: no interface ${u.interface} (there are: ${known})`);
  }
  const master = host.links.find((l) => l.index === link.master);
  if (isInVrf(u) && master !== undefined && master.name !== vrfDevice(u.name) && !host.isOurs(master.name))
    throw overlap(u, `interface ${u.interface} of uplink ${u.name} is a port of ${master.name}`);
}

function checkSource(u: HostUplink & { kind: 'source' }, host: HostFacts, all: readonly HostUplink[]): void {
  const holder = host.addresses.find((a) => a.addr.equals(u.source));
  if (holder === undefined) {
    if (host.wasThere(String(u.source))) return;
    throw new MlshimError('HOST_MISSING', `uplink ${u.name}: ${u.source} is no address of this host`);
  }
  const device = host.links.find((l) => l.index === holder.index)?.name;
  const taker = all.find((o) => isInVrf(o) && interfaceOf(o) === device);
  if (taker !== undefined)
    throw overlap(u, `${u.source} of uplink ${u.name} is on ${device}, which uplink ${taker.name} takes into its VRF`);
}

/** One address leads to one table. */
function checkAddresses(uplinks: readonly HostUplink[], host: HostFacts): void {
  const holders = new Map<string, string>();
  for (const u of uplinks) {
    const link = host.links.find((l) => l.name === interfaceOf(u));
    const held = host.addresses.filter((a) => a.index === link?.index && !a.addr.isLinkLocal).map((a) => a.addr);
    const given = u.kind === 'wireguard' ? u.addresses.map((a) => a.addr) : [];
    const own = u.kind === 'source' ? [u.source] : [...given, ...held];
    for (const address of new Set(own.map(String))) {
      const other = holders.get(address);
      if (other !== undefined) throw overlap(u, `uplinks ${other} and ${u.name} both have the address ${address}`);
      holders.set(address, u.name);
    }
    for (const addr of given) {
      const foreign = host.addresses.find((a) => a.addr.equals(addr) && a.index !== link?.index);
      if (foreign !== undefined) throw overlap(u, `${addr} of uplink ${u.name} is an address of this host already`);
    }
  }
}

function overlap(u: HostUplink, message: string): MlshimError {
  return new MlshimError('HOST_OVERLAP', message, { table: u.table, device: bindDeviceOf(u) });
}
