/**
 * What keeps us out of other processes of our user, and so from ending sockets that they hold (pidfd_getfd(2)): beside ptrace(2)'s
 * own rules the security module Yama (Documentation/admin-guide/LSM/Yama.rst).
 */
import { readFileSync } from 'node:fs';
import { CAP_SYS_PTRACE, hasCapability } from './capabilities.ts';

export const PTRACE_SCOPE = 'kernel.yama.ptrace_scope';

/** `all` processes of our user, those `admitted` by themselves (PR_SET_PTRACER) and our descendants, or `none`. */
export type Reach = 'all' | 'admitted' | 'none';

/** Yama's setting, read anew each time: it may be changed; undefined = a kernel without Yama. */
export function ptraceScope(): number | undefined {
  try {
    return Number(readFileSync(`/proc/sys/${PTRACE_SCOPE.replaceAll('.', '/')}`, 'latin1'));
  } catch {
    return undefined;
  }
}

export function reach(scope: number | undefined, isPrivileged = hasCapability(CAP_SYS_PTRACE)): Reach {
  if (scope === undefined || scope === 0 || (isPrivileged && scope < 3)) return 'all';
  return scope === 1 ? 'admitted' : 'none';
}
