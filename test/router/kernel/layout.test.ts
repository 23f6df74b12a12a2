import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import * as layout from '../../../router/kernel/layout.ts';
import { TUNNEL_MARK } from '../../../router/kernel/uplink.ts';

const BPF = join(import.meta.dirname, '../../../../router/kernel/bpf');
const hasCompiler = spawnSync('cc', ['--version']).status === 0;

/** What C says about each expression of policy.h. */
function inC(expressions: readonly string[]): number[] {
  const lines = expressions.map((e) => `printf("%llu\\n", (unsigned long long)(${e}));`).join('\n');
  const source = `#include <stddef.h>\n#include <stdio.h>\n#include "policy.h"\nint main(void)\n{\n${lines}\nreturn 0;\n}\n`;
  const program = join(process.env['TMPDIR'] ?? '/tmp', `mlshim-layout-${process.pid}`);
  execFileSync('cc', ['-x', 'c', `-I${BPF}`, '-o', program, '-'], { input: source });
  try {
    return execFileSync(program, { encoding: 'utf8' }).trim().split('\n').map(Number);
  } finally {
    execFileSync('rm', [program]);
  }
}

(hasCompiler ? test : test.skip)('the tables are laid out in C as in TypeScript', (t) => {
  const { Way, Load, WayCount, Settings, Total, KeyKind, Head, Flag, ClassWord, RuleWord, Action, GroupWord } = layout;
  const expected: Record<string, number> = {
    MLS_SCHEMA: layout.SCHEMA,
    MLS_GENERATIONS: layout.GENERATIONS,
    MLS_WAYS: layout.WAYS,
    MLS_RESOLVERS: layout.RESOLVERS,
    MLS_RING: layout.RING,
    MLS_MEMBERS: layout.MEMBERS,
    MLS_TUNNEL_MARK: TUNNEL_MARK,
    MLS_TABLE_V6: layout.TABLE_V6,
    MLS_TABLE_SOURCES: layout.TABLE_SOURCES,
    MLS_TABLE_OWN: layout.TABLE_OWN,
    MLS_OWN_MAIN: layout.OWN_MAIN,
    'sizeof(struct mls_quad)': 4 * layout.QUAD,
    'sizeof(struct mls_key)': 4 * layout.KEY_WORDS,
    'sizeof(struct mls_prefix)': 4 * layout.PREFIX_WORDS,
    'sizeof(struct mls_way)': Way.Size,
    'offsetof(struct mls_way, flags)': Way.Flags,
    'offsetof(struct mls_way, ifindex)': Way.Ifindex,
    'offsetof(struct mls_way, source4)': Way.Source4,
    'offsetof(struct mls_way, resolvers4)': Way.Resolvers4,
    'offsetof(struct mls_way, dns4)': Way.Dns4,
    'offsetof(struct mls_way, resolvers6)': Way.Resolvers6,
    'offsetof(struct mls_way, source6)': Way.Source6,
    'offsetof(struct mls_way, dns6)': Way.Dns6,
    'sizeof(struct mls_load)': Load.Size,
    'offsetof(struct mls_load, share)': Load.Share,
    'offsetof(struct mls_load, fresh)': Load.Fresh,
    'offsetof(struct mls_load, carries)': Load.Carries,
    'sizeof(struct mls_way_count)': WayCount.Size,
    'offsetof(struct mls_way_count, failed)': WayCount.Failed,
    'offsetof(struct mls_way_count, dns)': WayCount.Dns,
    'sizeof(struct mls_settings)': Settings.Size,
    'offsetof(struct mls_settings, owner)': Settings.Owner,
    MLS_WAY_DEVICE: layout.WayFlag.Device,
    MLS_WAY_VRF: layout.WayFlag.Vrf,
    MLS_RULE_FOR_PING: layout.RuleFlag.ForPing,
    MLS_UNMATCHED: Total.Unmatched,
    MLS_REJECTED: Total.Rejected,
    MLS_NO_UPLINK: Total.NoUplink,
    MLS_STRICT_REFUSED: Total.StrictRefused,
    MLS_FOREIGN_NETNS: Total.ForeignNetns,
    MLS_FORWARDED: Total.Forwarded,
    MLS_KEY_CGROUP: KeyKind.Cgroup,
    MLS_KEY_USER: KeyKind.User,
    MLS_KEY_PROCESS: KeyKind.Process,
    MLS_KEY_NAME: KeyKind.Name,
    MLS_KEY_CLASS: KeyKind.Class,
    MLS_KEY_MEMBER: KeyKind.Member,
    MLS_MEMBER_USABLE: layout.Member.Usable,
    MLS_MEMBER_DRAINED: layout.Member.Drained,
    MLS_HEAD_FLAGS: Head.Flags,
    MLS_HEAD_CLASS: Head.Class,
    MLS_HEAD_LISTS: Head.Lists,
    MLS_HEAD_RULES: Head.Rules,
    MLS_HAS_CGROUPS: Flag.Cgroups,
    MLS_HAS_USERS: Flag.Users,
    MLS_HAS_PROCESSES: Flag.Processes,
    MLS_HAS_NAMES: Flag.Names,
    MLS_HAS_SOURCES: Flag.Sources,
    MLS_IS_STRICT: Flag.Strict,
    MLS_CLASS_TABLE: ClassWord.Table,
    MLS_CLASS_ANYWHERE: ClassWord.Anywhere,
    MLS_CLASS_FORWARDER: ClassWord.Forwarder,
    MLS_RULE_ACTION: RuleWord.Action,
    MLS_RULE_TARGET: RuleWord.Target,
    MLS_RULE_FLAGS: RuleWord.Flags,
    MLS_ACTION_GROUP: Action.Group,
    MLS_ACTION_WAY: Action.Way,
    MLS_ACTION_MAIN: Action.Main,
    MLS_ACTION_REJECT: Action.Reject,
    MLS_GROUP_BALANCE: GroupWord.Balance,
    MLS_GROUP_RING: GroupWord.Ring,
    MLS_GROUP_LENGTH: GroupWord.Length,
    MLS_GROUP_TURN: GroupWord.Turn,
  };
  const names = Object.keys(expected);
  const said = inC(names);
  t.deepEqual(Object.fromEntries(names.map((n, i) => [n, said[i]])), expected);
});

test('balancers have the numbers in C that their order gives', (t) => {
  if (!hasCompiler) return t.pass('no compiler');
  const names = ['ROUND_ROBIN', 'RANDOM', 'HASH', 'STICKY', 'LEAST_LOADED', 'FAILOVER'];
  t.deepEqual(inC(names.map((n) => `MLS_${n}`)), [0, 1, 2, 3, 4, 5]);
  return undefined;
});
