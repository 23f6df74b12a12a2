/** Changes of the journal taken back, each on its own: what cannot be is said, and the rest goes on. */
import { NlFlag, Rtm } from '../wire/netlink.ts';
import { BatchSender } from './batch.ts';
import { type Host, isRefusal } from './host.ts';
import type { EntryOf, JournalEntry } from './journal.ts';
import { writeRouteKey } from './netlink/route.ts';
import { hostRule } from './plain-rule.ts';
import { type PortsContext, releasePort } from './ports.ts';
import { writeSysctl } from './sysctl.ts';
import { ROUTE_PROTOCOL, SETUP_PROTOCOL } from './uplink.ts';

const OURS = [SETUP_PROTOCOL, ROUTE_PROTOCOL];

/** Take back these changes; their entries are forgotten as that goes. Whether all could be. */
export function undoEntries(context: PortsContext, entries: readonly JournalEntry[]): boolean {
  const { host, journal, log } = context;
  let isClean = true;
  const attempt = (what: string, act: () => void): void => {
    try {
      act();
    } catch (e) {
      isClean = false;
      log.error('cannot take back', { what, why: e instanceof Error ? e.message : String(e) });
    }
  };
  const each = <K extends JournalEntry['kind']>(kind: K, act: (entry: EntryOf<K>) => void): void => {
    for (const entry of entries)
      if (entry.kind === kind) attempt(`${kind} ${entry.name}`, () => act(entry as EntryOf<K>));
  };
  const forgetting =
    <K extends JournalEntry['kind']>(act: (entry: EntryOf<K>) => void) =>
    (entry: EntryOf<K>): void => {
      act(entry);
      journal.forget(entry);
    };
  each(
    'rule',
    forgetting(({ rule }) => unlessGone(() => host.removeRule(hostRule(rule)))),
  );
  const afterwards: (() => void)[] = [];
  each('port', (entry) => afterwards.push(releasePort(context, entry)));
  each(
    'table',
    forgetting(({ table }) => flushTable(host, table)),
  );
  each(
    'link',
    forgetting(({ name }) => {
      const link = host.link(name);
      if (link !== undefined) unlessGone(() => host.removeLink(link));
    }),
  );
  each(
    'l3mdev',
    forgetting(() => removeL3mdev(host)),
  );
  for (const act of afterwards) attempt('routes', act);
  each(
    'mtu',
    forgetting(({ name, mtu }) => {
      const link = host.link(name);
      if (link !== undefined) host.changeLink(link, { mtu });
    }),
  );
  each(
    'sysctl',
    forgetting(({ name, value }) => writeSysctl(name, value)),
  );
  each(
    'up',
    forgetting(({ name }) => {
      const link = host.link(name);
      if (link !== undefined) host.changeLink(link, { isUp: false });
    }),
  );
  return isClean;
}

/** Remove all routes of a table that are ours. @throws KernelRefusal */
export function flushTable(host: Host, table: number): void {
  const batch = BatchSender.open();
  try {
    for (const protocol of OURS)
      for (const r of host.routes({ table, protocol }))
        batch.add(Rtm.DelRoute, NlFlag.Request, (w) => writeRouteKey(w, r));
    batch.flush();
  } finally {
    batch.close();
  }
}

/** The kernel keeps its rule for VRFs when there are none any more; another's VRF needs it. */
function removeL3mdev(host: Host): void {
  if (host.links().some((l) => l.kind === 'vrf')) return;
  for (const rule of host.rules()) if (rule.isL3mdev) unlessGone(() => host.removeRule(rule));
}

function unlessGone(act: () => void): void {
  try {
    act();
  } catch (e) {
    if (!isRefusal(e, 'ENOENT', 'ENODEV', 'ESRCH', 'EAFNOSUPPORT')) throw e;
  }
}
