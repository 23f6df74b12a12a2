/** Policy rules: RTM_*RULE messages (`struct fib_rule_hdr`, linux/fib_rules.h). */
import { type Family, Prefix } from '../../lib/addr.ts';
import {
  addrOf,
  familyMessage,
  familyNumber,
  type NetlinkWriter,
  NLMSG_HEADER,
  Rtm,
  textOf,
  unspecified,
  wordOf,
} from '../../wire/netlink.ts';

const RULE_HEADER = 12;
const Fra = {
  Src: 2,
  Priority: 6,
  FwMark: 10,
  Table: 15,
  FwMask: 16,
  Oif: 17,
  L3mdev: 19,
  Protocol: 21,
} as const;
const TO_TABLE = 1;

export interface HostRule {
  readonly family: Family;
  readonly priority: number;
  readonly from: Prefix | undefined;
  /** For what is bound to this interface. */
  readonly oif: string | undefined;
  readonly fwmark: number;
  /** 0 for a rule that a VRF's table decides (`l3mdev`). */
  readonly table: number;
  readonly isL3mdev: boolean;
  readonly protocol: number;
}

/** An RTM_NEWRULE or RTM_DELRULE message; undefined when it is none of IPv4 or IPv6. */
export function decodeRule(m: Uint8Array): HostRule | undefined {
  const told = familyMessage(m, RULE_HEADER, Rtm.NewRule, Rtm.DelRule);
  if (told === undefined) return undefined;
  const { family, attributes } = told;
  const length = m[NLMSG_HEADER + 2]!;
  const src = attributes.get(Fra.Src);
  const addr = src === undefined ? unspecified(family) : addrOf(src, family);
  return {
    family,
    priority: wordOf(attributes, Fra.Priority) ?? 0,
    from: length === 0 ? undefined : addr && Prefix.containing(addr, length),
    oif: textOf(attributes, Fra.Oif),
    fwmark: wordOf(attributes, Fra.FwMark) ?? 0,
    table: wordOf(attributes, Fra.Table) ?? m[NLMSG_HEADER + 4]!,
    isL3mdev: attributes.get(Fra.L3mdev)?.[0] === 1,
    protocol: attributes.get(Fra.Protocol)?.[0] ?? 0,
  };
}

/** The body of RTM_NEWRULE and RTM_DELRULE. */
export function writeRule(w: NetlinkWriter, r: HostRule): void {
  w.u8(familyNumber(r.family))
    .u8(0)
    .u8(r.from?.length ?? 0)
    .u8(0);
  w.u8(r.table < 256 ? r.table : 0)
    .u16(0)
    .u8(TO_TABLE)
    .u32(0);
  w.attributeU32(Fra.Priority, r.priority);
  if (r.from !== undefined) w.attribute(Fra.Src, r.from.addr.toBytes());
  if (r.oif !== undefined) w.attributeText(Fra.Oif, r.oif);
  if (r.fwmark !== 0) w.attributeU32(Fra.FwMark, r.fwmark).attributeU32(Fra.FwMask, 0xffffffff);
  if (r.isL3mdev) w.attributeU8(Fra.L3mdev, 1);
  else w.attributeU32(Fra.Table, r.table);
  w.attributeU8(Fra.Protocol, r.protocol);
}

/** What tells two rules apart. */
export function ruleIdentity(r: HostRule): string {
  const { family, priority, from, oif, fwmark, table, isL3mdev, protocol } = r;
  return [family, priority, from ?? 'all', oif ?? '', fwmark, isL3mdev ? 'l3mdev' : table, protocol].join(' ');
}
