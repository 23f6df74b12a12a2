import test from 'ava';
import { reach } from '../../../router/kernel/ptrace.ts';

test("Yama's setting and CAP_SYS_PTRACE decide which processes of our user we reach", (t) => {
  for (const [scope, isPrivileged, expected] of [
    [undefined, false, 'all'],
    [0, false, 'all'],
    [1, false, 'admitted'],
    [1, true, 'all'],
    [2, false, 'none'],
    [2, true, 'all'],
    [3, false, 'none'],
    [3, true, 'none'],
  ] as const)
    t.is(reach(scope, isPrivileged), expected, `${scope}, ${isPrivileged}`);
});
