/**
 * BGP capabilities: what a speaker says in its OPEN that it can do.
 * Read first: RFC 5492, RFC 4760 §8, RFC 2918, RFC 8950 §4, RFC 8654 §3, RFC 6793 §3, RFC 7911 §4, RFC 4724 §3,
 * RFC 9494 §3.1, RFC 9234 §4.1.
 * A known code with a value of wrong shape is kept as unknown, so that nothing a peer says is lost or fatal.
 * Does not negotiate; bgp/fsm/negotiate.ts does.
 */

import { get16, get32 } from '../../router/lib/bytes.ts';
import { AFI_NAMES, type FamilyCode, familyText } from './family.ts';
import type { OctetWriter } from './octets.ts';

/** Capability codes (IANA). */
export const CapabilityCode = {
  Multiprotocol: 1, // RFC 4760 §8
  RouteRefresh: 2, // RFC 2918 §2
  ExtendedNextHop: 5, // RFC 8950 §4
  ExtendedMessage: 6, // RFC 8654 §3
  Role: 9, // RFC 9234 §4.1
  GracefulRestart: 64, // RFC 4724 §3
  FourOctetAs: 65, // RFC 6793 §3
  AddPath: 69, // RFC 7911 §4
  EnhancedRefresh: 70, // RFC 7313 §3.1
  LongLivedRestart: 71, // RFC 9494 §3.1
  Fqdn: 73, // draft-walton-bgp-hostname-capability
  LinkLocalNextHop: 77, // draft-ietf-idr-linklocal-capability
} as const;

export type Capability =
  | ({ readonly kind: 'multiprotocol' } & FamilyCode)
  | { readonly kind: 'route-refresh' | 'extended-message' | 'enhanced-refresh' | 'link-local-next-hop' }
  | { readonly kind: 'extended-next-hop'; readonly entries: readonly (FamilyCode & { readonly nextHopAfi: number })[] }
  | { readonly kind: 'role'; readonly role: number }
  | { readonly kind: 'four-octet-as'; readonly asn: number }
  | {
      readonly kind: 'graceful-restart';
      /** The four flag bits: 8 = restarting (RFC 4724 §3), 4 = NOTIFICATION support (RFC 8538 §2). */
      readonly flags: number;
      readonly timeS: number;
      readonly families: readonly (FamilyCode & { readonly flags: number })[];
    }
  | {
      readonly kind: 'long-lived-restart';
      readonly families: readonly (FamilyCode & { readonly flags: number; readonly staleS: number })[];
    }
  /** Mode: 1 receive, 2 send, 3 both (RFC 7911 §4). */
  | { readonly kind: 'add-path'; readonly entries: readonly (FamilyCode & { readonly mode: number })[] }
  | { readonly kind: 'fqdn'; readonly host: string; readonly domain: string }
  | { readonly kind: 'unknown'; readonly code: number; readonly value: Uint8Array };

/** Decode the capabilities of one optional parameter; undefined when they do not fill it exactly. */
export function decodeCapabilities(b: Uint8Array): Capability[] | undefined {
  const out: Capability[] = [];
  let at = 0;
  while (at < b.length) {
    if (at + 2 > b.length) return undefined;
    const end = at + 2 + b[at + 1]!;
    if (end > b.length) return undefined;
    out.push(decodeCapability(b[at]!, b.subarray(at + 2, end)));
    at = end;
  }
  return out;
}

function decodeCapability(code: number, v: Uint8Array): Capability {
  return KNOWN[code]?.(v) ?? { kind: 'unknown', code, value: v.slice() };
}

const KNOWN: Record<number, (v: Uint8Array) => Capability | undefined> = {
  [CapabilityCode.Multiprotocol]: (v) =>
    v.length === 4 ? { kind: 'multiprotocol', afi: get16(v, 0), safi: v[3]! } : undefined,
  [CapabilityCode.RouteRefresh]: (v) => (v.length === 0 ? { kind: 'route-refresh' } : undefined),
  [CapabilityCode.ExtendedNextHop]: (v) =>
    v.length % 6 === 0
      ? {
          kind: 'extended-next-hop',
          entries: chunks(v, 0, 6, (at) => ({
            afi: get16(v, at),
            safi: get16(v, at + 2),
            nextHopAfi: get16(v, at + 4),
          })),
        }
      : undefined,
  [CapabilityCode.ExtendedMessage]: (v) => (v.length === 0 ? { kind: 'extended-message' } : undefined),
  [CapabilityCode.Role]: (v) => (v.length === 1 ? { kind: 'role', role: v[0]! } : undefined),
  [CapabilityCode.GracefulRestart]: (v) =>
    v.length >= 2 && v.length % 4 === 2
      ? {
          kind: 'graceful-restart',
          flags: v[0]! >>> 4,
          timeS: get16(v, 0) & 0xfff,
          families: chunks(v, 2, 4, (at) => ({ afi: get16(v, at), safi: v[at + 2]!, flags: v[at + 3]! })),
        }
      : undefined,
  [CapabilityCode.LongLivedRestart]: (v) =>
    v.length % 7 === 0
      ? {
          kind: 'long-lived-restart',
          families: chunks(v, 0, 7, (at) => ({
            afi: get16(v, at),
            safi: v[at + 2]!,
            flags: v[at + 3]!,
            staleS: get32(v, at + 3) & 0xffffff, // RFC 9494 §3.1: 24 bits
          })),
        }
      : undefined,
  [CapabilityCode.FourOctetAs]: (v) => (v.length === 4 ? { kind: 'four-octet-as', asn: get32(v, 0) >>> 0 } : undefined),
  [CapabilityCode.AddPath]: (v) =>
    v.length % 4 === 0
      ? {
          kind: 'add-path',
          entries: chunks(v, 0, 4, (at) => ({ afi: get16(v, at), safi: v[at + 2]!, mode: v[at + 3]! })),
        }
      : undefined,
  [CapabilityCode.EnhancedRefresh]: (v) => (v.length === 0 ? { kind: 'enhanced-refresh' } : undefined),
  [CapabilityCode.Fqdn]: (v) => {
    const hostEnd = 1 + (v[0] ?? 0);
    if (hostEnd >= v.length || hostEnd + 1 + v[hostEnd]! !== v.length) return undefined;
    const host = printable(v.subarray(1, hostEnd));
    const domain = printable(v.subarray(hostEnd + 1));
    return host === undefined || domain === undefined ? undefined : { kind: 'fqdn', host, domain };
  },
  [CapabilityCode.LinkLocalNextHop]: (v) => (v.length === 0 ? { kind: 'link-local-next-hop' } : undefined),
};

/** Host names reach terminals and logs, so only visible ASCII is taken as text. */
function printable(v: Uint8Array): string | undefined {
  return v.every((c) => c > 0x20 && c < 0x7f) ? String.fromCharCode(...v) : undefined;
}

function chunks<T>(v: Uint8Array, from: number, size: number, read: (at: number) => T): T[] {
  const out: T[] = [];
  for (let at = from; at < v.length; at += size) out.push(read(at));
  return out;
}

/** Append one capability (code, length, value). */
export function putCapability(w: OctetWriter, c: Capability): void {
  const start = w.length;
  w.u8(codeOf(c));
  w.u8(0);
  switch (c.kind) {
    case 'multiprotocol':
      w.u16(c.afi);
      w.u16(c.safi); // RFC 4760 §8: a reserved octet, then SAFI
      break;
    case 'extended-next-hop':
      for (const e of c.entries) {
        w.u16(e.afi);
        w.u16(e.safi);
        w.u16(e.nextHopAfi);
      }
      break;
    case 'role':
      w.u8(c.role);
      break;
    case 'four-octet-as':
      w.u32(c.asn);
      break;
    case 'graceful-restart':
      w.u16((c.flags << 12) | c.timeS);
      for (const f of c.families) {
        w.u16(f.afi);
        w.u8(f.safi);
        w.u8(f.flags);
      }
      break;
    case 'long-lived-restart':
      for (const f of c.families) {
        w.u16(f.afi);
        w.u8(f.safi);
        w.u32(((f.flags << 24) | f.staleS) >>> 0);
      }
      break;
    case 'add-path':
      for (const e of c.entries) {
        w.u16(e.afi);
        w.u8(e.safi);
        w.u8(e.mode);
      }
      break;
    case 'fqdn':
      for (const name of [c.host, c.domain]) {
        const text = Buffer.from(name, 'latin1').subarray(0, 64);
        w.u8(text.length);
        w.put(text);
      }
      break;
    case 'unknown':
      w.put(c.value);
      break;
    case 'route-refresh':
    case 'extended-message':
    case 'enhanced-refresh':
    case 'link-local-next-hop':
      break;
  }
  w.bytes[start + 1] = w.length - start - 2;
}

function codeOf(c: Capability): number {
  switch (c.kind) {
    case 'multiprotocol':
      return CapabilityCode.Multiprotocol;
    case 'route-refresh':
      return CapabilityCode.RouteRefresh;
    case 'extended-next-hop':
      return CapabilityCode.ExtendedNextHop;
    case 'extended-message':
      return CapabilityCode.ExtendedMessage;
    case 'role':
      return CapabilityCode.Role;
    case 'graceful-restart':
      return CapabilityCode.GracefulRestart;
    case 'long-lived-restart':
      return CapabilityCode.LongLivedRestart;
    case 'four-octet-as':
      return CapabilityCode.FourOctetAs;
    case 'add-path':
      return CapabilityCode.AddPath;
    case 'enhanced-refresh':
      return CapabilityCode.EnhancedRefresh;
    case 'fqdn':
      return CapabilityCode.Fqdn;
    case 'link-local-next-hop':
      return CapabilityCode.LinkLocalNextHop;
    case 'unknown':
      return c.code;
  }
}

/** BGP roles by number (RFC 9234 §4.1). */
export const ROLE_NAMES = ['provider', 'route-server', 'route-server-client', 'customer', 'peer'] as const;

/** Flags of the graceful restart capability. */
export const RestartFlag = {
  Restarting: 8, // RFC 4724 §3
  Notification: 4, // RFC 8538 §2
} as const;
/** Flag of a family in the graceful restart and long-lived restart capabilities. */
export const FORWARDING_KEPT = 0x80; // RFC 4724 §3, RFC 9494 §3.1

/** A capability in words, for `mlshim bgp show`. */
export function capabilityText(c: Capability): string {
  switch (c.kind) {
    case 'multiprotocol':
      return `multiprotocol ${familyText(c)}`;
    case 'extended-next-hop':
      return `extended next hop ${c.entries.map((e) => `${familyText(e)} via ${AFI_NAMES[e.nextHopAfi] ?? e.nextHopAfi}`).join(', ')}`;
    case 'role':
      return `role ${ROLE_NAMES[c.role] ?? c.role}`;
    case 'four-octet-as':
      return `4-octet AS ${c.asn}`;
    case 'graceful-restart':
      return [
        `graceful restart ${c.timeS} s`,
        ...(c.flags & RestartFlag.Restarting ? ['restarting'] : []),
        ...(c.flags & RestartFlag.Notification ? ['notification'] : []),
        ...c.families.map((f) => `${familyText(f)}${f.flags & FORWARDING_KEPT ? ' (forwarding kept)' : ''}`),
      ].join(', ');
    case 'long-lived-restart':
      return ['long-lived restart', ...c.families.map((f) => `${familyText(f)} ${f.staleS} s`)].join(', ');
    case 'add-path':
      return `add-path ${c.entries.map((e) => `${familyText(e)} ${['?', 'receive', 'send', 'both'][e.mode] ?? e.mode}`).join(', ')}`;
    case 'fqdn':
      return `host name ${c.domain === '' ? c.host : `${c.host}.${c.domain}`}`;
    case 'unknown':
      return `capability ${c.code}`;
    case 'route-refresh':
    case 'extended-message':
    case 'enhanced-refresh':
    case 'link-local-next-hop':
      return c.kind.replaceAll('-', ' ');
  }
}
