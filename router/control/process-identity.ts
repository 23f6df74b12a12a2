/** Which process a process id stands for: it alone may have been given to another one since (containers reuse them at once). */
import { readFileSync } from 'node:fs';

/** "PID STARTTIME" of a process; undefined when there is none. One that has ended and was not waited for by its parent is gone. */
export function identity(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // proc(5): the name in parentheses may hold anything; the state is the first field behind it, starttime the 20th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : `${pid} ${fields[19]}`;
}
