/**
 * Names of users and their ids, as this host has them: from its file of accounts, and for those it does not hold (LDAP, SSSD)
 * from getent(1), which asks what the host is set up to ask.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const ACCOUNTS = '/etc/passwd';
/** A directory server may be far away. */
const GETENT_MS = 5000;

/** @returns undefined when there is no such user */
export function userId(name: string): number | undefined {
  return idOf(name, accounts()) ?? idOf(name, getent(name));
}

/** Names of the host's own accounts. */
export function localUsers(): readonly string[] {
  return accounts()
    .split('\n')
    .flatMap((l) => (l.includes(':') ? [l.slice(0, l.indexOf(':'))] : []));
}

/** passwd(5): the name is the first field, the id the third. */
function idOf(name: string, lines: string): number | undefined {
  const fields = lines
    .split('\n')
    .map((l) => l.split(':'))
    .find((f) => f[0] === name);
  const id = Number(fields?.[2] ?? Number.NaN);
  return Number.isInteger(id) && id >= 0 ? id : undefined;
}

function accounts(): string {
  try {
    return readFileSync(ACCOUNTS, 'utf8');
  } catch {
    return ''; // an image without accounts
  }
}

function getent(name: string): string {
  try {
    return execFileSync('getent', ['passwd', name], {
      encoding: 'utf8',
      timeout: GETENT_MS,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return ''; // nobody of that name, or no getent
  }
}
